package offload

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainSum is the Internet checksum as RFC 1071 writes it.
func plainSum(parts ...[]byte) uint16 {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	var s uint32
	for i := 0; i < len(all); i += 2 {
		s += uint32(binary.BigEndian.Uint16(all[i:]))
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

func TestSum(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 1700 {
		b := make([]byte, 64+n)[n%32 : n%32+n] // at any alignment
		for i := range b {
			if b[i] = byte(r.Uint32()); n%3 == 0 {
				b[i] = 0xff // carries everywhere
			}
		}
		var got [2]byte
		binary.NativeEndian.PutUint16(got[:], ^fold(sum(b, 0)))
		want := plainSum(b)
		if g := binary.BigEndian.Uint16(got[:]); g != want && !(g|want == 0xffff && g&want == 0) {
			t.Fatalf("%d bytes: %04x, want %04x", n, g, want)
		}
	}
}

// flow makes packets of one TCP or UDP flow.
type flow struct {
	v6, udp bool
	options int // bytes of TCP options
	port    byte
	seq     uint32
	id      uint16
}

// packet makes one with the right checksums.
func (f *flow) packet(flags byte, payload []byte) []byte {
	var b []byte
	if f.v6 {
		b = append([]byte{0x60, 0, 0, 0, 0, 0, protoTCP, 64}, bytes.Repeat([]byte{0x20, 1, 0xd, 0xb8}, 8)...)
		b[39] = 2
	} else {
		b = []byte{0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protoTCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
		binary.BigEndian.PutUint16(b[4:], f.id)
		f.id++
	}
	ip := len(b)
	body := []byte{0x12, f.port, 0, 80}
	if f.udp {
		b[map[bool]int{false: 9, true: 6}[f.v6]] = protoUDP
		body = append(body, 0, 0, 0, 0)
		binary.BigEndian.PutUint16(body[4:], uint16(8+len(payload)))
	} else {
		body = append(binary.BigEndian.AppendUint32(body, f.seq), 0, 0, 0, 9)
		body = append(body, byte(20+f.options)<<2, flags, 0x10, 0, 0, 0, 0, 0)
		body = append(body, bytes.Repeat([]byte{1}, f.options)...)
		f.seq += uint32(len(payload))
	}
	b = append(append(b, body...), payload...)
	finish(b, ip)
	return b
}

// finish puts lengths and checksums right, by the plain rules.
func finish(b []byte, ip int) {
	body := b[ip:]
	proto, at := b[6], 16
	addresses := b[8:40]
	if b[0]>>4 == 4 {
		proto, addresses = b[9], b[12:20]
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		b[10], b[11] = 0, 0
		binary.BigEndian.PutUint16(b[10:], plainSum(b[:ip]))
	} else {
		binary.BigEndian.PutUint16(b[4:], uint16(len(body)))
	}
	if proto == protoUDP {
		at = 6
	}
	body[at], body[at+1] = 0, 0
	c := plainSum(addresses, []byte{0, proto, byte(len(body) >> 8), byte(len(body))}, body)
	if c == 0 && proto == protoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(body[at:], c)
}

func flows() []*flow {
	return []*flow{{}, {options: 12}, {v6: true}, {v6: true, options: 40}, {udp: true}, {udp: true, v6: true}}
}

func (f *flow) String() string {
	return fmt.Sprintf("v6 %v, udp %v, options %d", f.v6, f.udp, f.options)
}

func random(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// super makes what the kernel would hand over for the run: one packet of all parts.
func super(t testing.TB, j *Joiner, r *Run) Packet {
	t.Helper()
	parts := j.Parts(nil, r)
	whole := bytes.Join(parts, nil)
	p, ok := Super(whole, r.IP, r.Segment, r.UDP)
	if !ok {
		t.Fatalf("no super-packet: %+v", r)
	}
	return p
}

func cutAll(pkts ...Packet) (out [][]byte) {
	var c Train
	c.Reset(pkts)
	for p := c.Next(); p != nil; p = c.Next() {
		out = append(out, bytes.Clone(p))
	}
	return out
}

// What is joined and cut again is what it was, for every kind of flow.
func TestJoinAndCut(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, f := range flows() {
		for _, sizes := range [][]int{{500, 500, 500}, {1300, 1300, 7}, {1, 1}, {900, 900, 900, 900, 899}, slices.Repeat([]int{1000}, 64)} {
			var pkts [][]byte
			f.seq, f.id = 0xfffffe00, 0xfffe // both go over their end
			for i, n := range sizes {
				flags := byte(flagACK)
				if i == len(sizes)-1 {
					flags |= flagPSH
				}
				pkts = append(pkts, f.packet(flags, random(r, n)))
			}
			before := slices.Clone(pkts)
			for i := range before {
				before[i] = bytes.Clone(before[i])
			}
			j := &Joiner{TCP: true, UDP: true}
			runs := j.Join(pkts)
			if len(runs) != 1 || runs[0].Packets != len(sizes) || runs[0].Segment != sizes[0] {
				t.Fatalf("%v: %v became %+v", f, sizes, runs)
			}
			got := cutAll(super(t, j, &runs[0]))
			if !slices.EqualFunc(got, before, bytes.Equal) {
				t.Errorf("%v: %v: cut into something else", f, sizes)
			}
			if !slices.EqualFunc(j.Each(nil, &runs[0]), before, bytes.Equal) {
				t.Errorf("%v: the packets themselves were changed", f)
			}
		}
	}
}

// The checksum of a super-packet is what the kernel goes on from: the pseudo header's sum.
func TestPartsHavePartialChecksum(t *testing.T) {
	for _, f := range flows() {
		j := &Joiner{TCP: true, UDP: true}
		runs := j.Join([][]byte{f.packet(flagACK, make([]byte, 100)), f.packet(flagACK, make([]byte, 100))})
		b := bytes.Join(j.Parts(nil, &runs[0]), nil)
		if !Complete(b, runs[0].IP, runs[0].ChecksumOffset()) {
			t.Fatal("no room for the checksum")
		}
		want := bytes.Clone(b)
		finish(want, runs[0].IP)
		if !bytes.Equal(b, want) {
			t.Errorf("%v:\n%x, want\n%x", f, b[:60], want[:60])
		}
	}
	if Complete(make([]byte, 20), 16, 3) {
		t.Error("a checksum outside of the packet")
	}
}

// Unverified, the checksum of the whole is made out of those of the packets: it is right exactly when they were.
func TestUnverified(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range flows() {
		for _, n := range []int{1, 100, 101, 1399} {
			for _, spoilt := range []bool{false, true} {
				var pkts [][]byte
				for i := range 5 {
					pkts = append(pkts, f.packet(flagACK, random(r, n-i/4*n/2)))
				}
				if spoilt {
					pkts[2][len(pkts[2])-1] ^= 4
				}
				j := &Joiner{TCP: true, UDP: true, Unverified: true}
				runs := j.Join(pkts)
				if runs[0].Packets < 4 { // the last one of a byte has none
					t.Fatalf("%v: runs %+v", f, runs)
				}
				b := bytes.Join(j.Parts(nil, &runs[0]), nil)
				want := bytes.Clone(b)
				if finish(want, runs[0].IP); bytes.Equal(b, want) == spoilt {
					t.Errorf("%v, %d bytes, spoilt %v: %x, want %x", f, n, spoilt, b[:60], want[:60])
				}
			}
		}
	}
}

// What must not be joined keeps its order and is not changed.
func TestJoinRefuses(t *testing.T) {
	payload := make([]byte, 100)
	change := func(ip int, edit func(b []byte)) func(p []byte) []byte {
		return func(p []byte) []byte { edit(p); finish(p, ip); return p }
	}
	for name, c := range map[string]struct {
		f    flow
		edit func(p []byte) []byte // of the second of three packets
		want []int                 // packets in each run
	}{
		"nothing":           {flow{}, func(p []byte) []byte { return p }, []int{3}},
		"a gap":             {flow{}, change(20, func(p []byte) { p[27]++ }), []int{1, 1, 1}},
		"another ACK":       {flow{}, change(20, func(p []byte) { p[31]++ }), []int{1, 1, 1}},
		"another window":    {flow{}, change(20, func(p []byte) { p[34]++ }), []int{1, 1, 1}},
		"URG":               {flow{}, change(20, func(p []byte) { p[33] |= 0x20 }), []int{1, 1, 1}},
		"FIN":               {flow{}, change(20, func(p []byte) { p[33] |= flagFIN }), []int{1, 1, 1}},
		"CWR":               {flow{}, change(20, func(p []byte) { p[33] |= flagCWR }), []int{1, 1, 1}},
		"PSH":               {flow{}, change(20, func(p []byte) { p[33] |= flagPSH }), []int{2, 1}},
		"ECN":               {flow{}, change(20, func(p []byte) { p[1] |= 3 }), []int{1, 1, 1}},
		"TTL":               {flow{}, change(20, func(p []byte) { p[8]-- }), []int{1, 1, 1}},
		"another option":    {flow{options: 4}, change(20, func(p []byte) { p[43] = 0 }), []int{1, 1, 1}},
		"may be fragmented": {flow{}, change(20, func(p []byte) { p[6] = 0 }), []int{1, 1, 1}},
		"a fragment":        {flow{}, change(20, func(p []byte) { p[6] = 0x20 }), []int{2, 1}},
		"another port":      {flow{}, change(20, func(p []byte) { p[21]++ }), []int{1, 1, 1}},
		"another address":   {flow{}, change(20, func(p []byte) { p[19]++ }), []int{1, 1, 1}},
		"IP options":        {flow{}, func(p []byte) []byte { return ipOptions(p) }, []int{1, 1, 1}},
		"a bad checksum":    {flow{}, func(p []byte) []byte { p[60] ^= 1; return p }, []int{1, 1, 1}},
		"a bad IP checksum": {flow{}, func(p []byte) []byte { p[10] ^= 1; return p }, []int{1, 1, 1}},
		"bytes behind":      {flow{}, func(p []byte) []byte { return append(p, 0) }, []int{1, 1, 1}},
		"cut":               {flow{}, func(p []byte) []byte { return p[:30] }, []int{1, 1, 1}},
		"no IP":             {flow{}, func(p []byte) []byte { return []byte{0x10, 2, 3} }, []int{1, 1, 1}},
		"no payload":        {flow{}, func(p []byte) []byte { p = p[:40]; finish(p, 20); return p }, []int{1, 1, 1}},
		"longer": {flow{udp: true}, func(p []byte) []byte {
			p = append(p, 0)
			binary.BigEndian.PutUint16(p[24:], 109)
			finish(p, 20)
			return p
		}, []int{1, 2}},
		"shorter": {flow{udp: true}, func(p []byte) []byte {
			p = p[:len(p)-1]
			binary.BigEndian.PutUint16(p[24:], 107)
			finish(p, 20)
			return p
		}, []int{2, 1}},
		"no UDP checksum": {flow{udp: true}, func(p []byte) []byte { p[26], p[27] = 0, 0; return p }, []int{1, 1, 1}},
		"UDP length":      {flow{udp: true}, change(20, func(p []byte) { p[25]-- }), []int{1, 1, 1}},
		"flow label":      {flow{v6: true}, change(40, func(p []byte) { p[3]++ }), []int{1, 1, 1}},
		"hop limit":       {flow{v6: true}, change(40, func(p []byte) { p[7]-- }), []int{1, 1, 1}},
		"IPv6 length":     {flow{v6: true}, func(p []byte) []byte { p[5]--; return p }, []int{1, 1, 1}},
	} {
		var pkts [][]byte
		for range 3 {
			pkts = append(pkts, c.f.packet(flagACK, payload))
		}
		pkts[1] = c.edit(pkts[1])
		if name == "another port" || name == "another address" || name == "a fragment" {
			// The third goes on where the first ended: only another flow is between them.
			c.f.seq, c.f.id = 100, 1
			pkts[2] = c.f.packet(flagACK, payload)
			c.want = []int{2, 1}
		}
		j := &Joiner{TCP: true, UDP: true}
		var got []int
		var order [][]byte
		for _, r := range j.Join(pkts) {
			got = append(got, r.Packets)
			order = j.Each(order, &r)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: runs of %v, want %v", name, got, c.want)
		}
		if len(order) != 3 {
			t.Errorf("%s: %d packets", name, len(order))
		}
	}
}

func ipOptions(p []byte) []byte {
	p = append(append(slices.Clone(p[:20]), 1, 1, 1, 1), p[20:]...)
	p[0] = 0x46
	finish(p, 24)
	return p
}

// Many flows at once, each in order; those that are too many pass alone.
func TestJoinInterleaved(t *testing.T) {
	for _, n := range []int{2, 8, openRuns, openRuns + 1, 40} {
		var pkts [][]byte
		all := make([]flow, n)
		for i := range all {
			all[i].port = byte(i)
		}
		for range 3 {
			for i := range all {
				pkts = append(pkts, all[i].packet(flagACK, make([]byte, 50)))
			}
		}
		j := &Joiner{TCP: true}
		last := map[byte]uint32{}
		runs := j.Join(pkts)
		for _, r := range runs {
			for _, p := range j.Each(nil, &r) {
				seq := binary.BigEndian.Uint32(p[24:]) + 1
				if seq <= last[p[21]] {
					t.Errorf("%d flows: out of order", n)
				}
				last[p[21]] = seq
			}
		}
		if n <= openRuns && len(runs) != n {
			t.Errorf("%d flows: %d runs", n, len(runs))
		}
	}
}

func TestJoinUpTo64K(t *testing.T) {
	var f flow
	var pkts [][]byte
	for range 100 {
		pkts = append(pkts, f.packet(flagACK, make([]byte, 1400)))
	}
	j := &Joiner{TCP: true}
	runs := j.Join(pkts)
	if len(runs) != 3 {
		t.Fatalf("%d runs", len(runs))
	}
	for _, r := range runs {
		if n := len(super(t, j, &r).Bytes); n > maxJoin {
			t.Errorf("%d bytes", n)
		}
	}
	u := flow{udp: true}
	var datagrams [][]byte
	for range 100 {
		datagrams = append(datagrams, u.packet(0, make([]byte, 10)))
	}
	j.UDP = true
	if runs := j.Join(datagrams); len(runs) != 2 || runs[0].Packets != maxUDP {
		t.Errorf("%d runs of datagrams", len(runs))
	}
	if runs := (&Joiner{}).Join(pkts); len(runs) != 100 {
		t.Errorf("joined although it may not: %d runs", len(runs))
	}
}

// Flags of a super-packet go to the packets that they are meant for.
func TestCutFlags(t *testing.T) {
	var f flow
	b := f.packet(flagACK|flagPSH|flagFIN|flagCWR, make([]byte, 250))
	p, ok := Super(b, 20, 100, false)
	if !ok {
		t.Fatal("no super-packet")
	}
	var got []byte
	for _, c := range cutAll(p) {
		got = append(got, c[33])
		want := bytes.Clone(c)
		if finish(want, 20); !bytes.Equal(c, want) {
			t.Errorf("checksums or lengths: %x", c)
		}
	}
	if want := []byte{flagACK | flagCWR, flagACK, flagACK | flagPSH | flagFIN}; !bytes.Equal(got, want) {
		t.Errorf("flags %x, want %x", got, want)
	}
}

func TestSuperRefuses(t *testing.T) {
	var f flow
	good := f.packet(flagACK, make([]byte, 250))
	for name, c := range map[string]struct {
		b              []byte
		start, segment int
		udp            bool
	}{
		"short":       {good[:15], 20, 100, false},
		"no payload":  {good[:40], 20, 100, false},
		"no segment":  {good, 20, 0, false},
		"start":       {good, 24, 100, false},
		"start past":  {good, 9999, 100, false},
		"start early": {good, 4, 100, false},
		"IPv5":        {append([]byte{0x55}, good[1:]...), 20, 100, false},
		"offset":      {append(append(slices.Clone(good[:32]), 0xf0), good[33:60]...), 20, 100, false},
		"too long":    {append(slices.Clone(good), make([]byte, 65535)...), 20, 100, false},
	} {
		if _, ok := Super(c.b, c.start, c.segment, c.udp); ok {
			t.Errorf("%s: taken", name)
		}
	}
	if p, ok := Super(good, 20, 1000, false); !ok || len(cutAll(p)) != 1 {
		t.Error("one segment is a super-packet too")
	}
	// IPv6 with an extension in front of TCP.
	f6 := flow{v6: true}
	b := f6.packet(flagACK, make([]byte, 250))
	b = append(append(slices.Clone(b[:40]), protoTCP, 0, 1, 4, 0, 0, 0, 0), b[40:]...)
	b[6] = 0
	p, ok := Super(b, 48, 100, false)
	if !ok {
		t.Fatal("with an extension header")
	}
	for i, c := range cutAll(p) {
		if n := int(binary.BigEndian.Uint16(c[4:])); n != len(c)-40 || !right(c[48:], pseudoSum(c, protoTCP, len(c)-48)) {
			t.Errorf("packet %d: length %d of %d", i, n, len(c))
		}
	}
}

func TestNothingAllocated(t *testing.T) {
	var f flow
	var pkts [][]byte
	for range 40 {
		pkts = append(pkts, f.packet(flagACK, make([]byte, 1400)))
	}
	j := &Joiner{TCP: true}
	var parts [][]byte
	var c Train
	var whole []byte
	if n := testing.AllocsPerRun(20, func() {
		runs := j.Join(pkts)
		parts = j.Parts(parts[:0], &runs[0])
		whole = whole[:0]
		for _, p := range parts {
			whole = append(whole, p...)
		}
		p, _ := Super(whole, 20, 1400, false)
		pkts := [1]Packet{p}
		c.Reset(pkts[:])
		for p := c.Next(); p != nil; p = c.Next() {
		}
	}); n > 1 { // the array of one packet
		t.Errorf("%v allocations", n)
	}
}

// FuzzJoin: whatever comes, everything comes out again, once, in the order of its flow, and
// what was joined is cut into the same packets.
func FuzzJoin(f *testing.F) {
	for _, x := range flows() {
		f.Add(x.packet(flagACK, []byte("abcd")), x.packet(flagACK, []byte("efgh")), x.packet(flagACK|flagPSH, []byte("ij")))
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		pkts := [][]byte{a, b, c}
		j := &Joiner{TCP: true, UDP: true}
		n := 0
		for _, r := range j.Join(pkts) {
			n += r.Packets
			if r.Packets == 1 {
				continue
			}
			want := j.Each(nil, &r)
			got := cutAll(super(t, j, &r))
			if len(got) != len(want) {
				t.Fatalf("%d packets became %d", len(want), len(got))
			}
			for i := range got {
				if !bytes.Equal(got[i][r.Header:], want[i][r.Header:]) {
					t.Errorf("payload %d differs", i)
				}
			}
		}
		if n != len(pkts) {
			t.Errorf("%d packets became %d", len(pkts), n)
		}
	})
}

// FuzzSuper: what the kernel hands over is cut into packets of its payload, or refused.
func FuzzSuper(f *testing.F) {
	for _, x := range flows() {
		f.Add(x.packet(flagACK, make([]byte, 100)), 20, 30, x.udp)
		f.Add(x.packet(flagACK, make([]byte, 100)), 40, 30, x.udp)
	}
	f.Fuzz(func(t *testing.T, b []byte, start, segment int, udp bool) {
		p, ok := Super(bytes.Clone(b), start, segment, udp)
		if !ok {
			return
		}
		var payload []byte
		for _, c := range cutAll(p) {
			if len(c) <= p.header || len(c) > p.header+segment {
				t.Fatalf("a packet of %d bytes", len(c))
			}
			payload = append(payload, c[p.header:]...)
		}
		if !bytes.Equal(payload, b[p.header:]) {
			t.Error("the payload is another")
		}
	})
}
