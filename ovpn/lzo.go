package ovpn

// lzoDecompress decompresses one LZO1X block, as in the Linux kernel's description of the stream
// format (Documentation/staging/lzo.rst, the version without run-length extension). It writes to
// out and returns the length; false for what is malformed or longer than out.
//
// A block is a sequence of instructions. Each copies a match out of what was written, and then up to
// three literals, which the instruction counts (state); a run of more is an instruction of its own.
func lzoDecompress(out, in []byte) (n int, ok bool) {
	d := lzo{out: out, in: in}
	state := 0
	if len(in) > 0 && in[0] > 17 {
		run := int(in[0]) - 17
		d.at = 1
		d.literals(run)
		state = min(run, 4)
	}
	for !d.bad {
		t := int(d.byte())
		var length, distance int
		switch {
		case t >= 64:
			length = 3 + t>>5&1
			if t >= 128 {
				length = 5 + t>>5&3
			}
			distance = int(d.byte())<<3 + t>>2&7 + 1
			state = t & 3
		case t >= 32:
			length = 2 + d.length(t&31, 31)
			v := d.uint16()
			distance, state = v>>2+1, v&3
		case t >= 16:
			length = 2 + d.length(t&7, 7)
			v := d.uint16()
			distance, state = 16384+t&8<<11+v>>2, v&3
			if distance == 16384 {
				if d.bad || length != 3 || d.at != len(in) {
					return 0, false
				}
				return d.n, true
			}
		case state == 0:
			d.literals(3 + d.length(t, 15))
			state = 4
			continue
		case state == 4:
			length, distance = 3, 2049+t>>2+int(d.byte())<<2
			state = t & 3
		default:
			length, distance = 2, 1+t>>2+int(d.byte())<<2
			state = t & 3
		}
		d.match(distance, length)
		d.literals(state)
	}
	return 0, false
}

// lzo is a block under way. After the first step out of bounds it is bad and stays so.
type lzo struct {
	out, in []byte
	n, at   int
	bad     bool
}

func (d *lzo) byte() byte {
	if d.at >= len(d.in) {
		d.bad = true
		return 0
	}
	d.at++
	return d.in[d.at-1]
}

func (d *lzo) uint16() int {
	low := int(d.byte())
	return low | int(d.byte())<<8
}

// length reads what follows a length field: when it is zero, bytes of zero count 255
// each, and the next one the rest.
func (d *lzo) length(field, base int) int {
	if field != 0 {
		return field
	}
	for n := base; !d.bad && n <= len(d.out); n += 255 {
		if b := d.byte(); b != 0 {
			return n + int(b)
		}
	}
	d.bad = true
	return 0
}

func (d *lzo) literals(n int) {
	if d.bad || n > len(d.in)-d.at || n > len(d.out)-d.n {
		d.bad = true
		return
	}
	d.n += copy(d.out[d.n:], d.in[d.at:d.at+n])
	d.at += n
}

// match copies what was written distance bytes ago; it may overlap what it writes.
func (d *lzo) match(distance, length int) {
	if d.bad || distance > d.n || length > len(d.out)-d.n {
		d.bad = true
		return
	}
	for range length {
		d.out[d.n] = d.out[d.n-distance]
		d.n++
	}
}
