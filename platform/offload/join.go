package offload

import (
	"bytes"
	"encoding/binary"
)

// Joiner finds packets that can pass as one: consecutive parts of a TCP stream, and datagrams of equal
// size between the same two sockets. The order within a flow stays as it is. The zero value is ready.
type Joiner struct {
	// TCP and UDP say what may be joined.
	TCP, UDP bool
	// Unverified leaves the checksums of payloads to who takes the super-packet: its own one is right
	// when all of them were. Else they are verified here, since nobody does afterwards.
	Unverified bool

	pkts [][]byte
	next []int32 // the packet behind one in the same run, or -1
	runs []Run
	open [openRuns]int32 // runs that may grow, the latest first
	n    int             // of open
	head [maxHeader]byte // of Parts
}

const (
	openRuns = 16 // flows that are looked at, at a time
	maxUDP   = 64 // datagrams of one super-packet: what older kernels cut it into at most (UDP_MAX_SEGMENTS)
)

// Run is what passes as one.
type Run struct {
	// Packets is how many there are. 1: the packet passes as it is, and nothing below counts.
	Packets int
	// Segment is the bytes of payload in each but the last, which may have fewer.
	Segment int
	// IP is the length of the IP header, Header that of the transport's together with it.
	IP, Header int
	// UDP and IPv6 say what it is; else it is TCP, and IPv4.
	UDP, IPv6 bool

	first, last int32
	payload     int // bytes in all
	seq         uint32
	push        bool
	tried       bool // the checksum of the first was looked at
}

// ChecksumOffset is where the checksum is, from the begin of the transport's header.
func (r *Run) ChecksumOffset() int {
	if r.UDP {
		return udpChecksum
	}
	return tcpChecksum
}

// Join sorts pkts into runs. They are valid until the next call.
func (j *Joiner) Join(pkts [][]byte) []Run {
	j.pkts, j.runs, j.next, j.n = pkts, j.runs[:0], j.next[:0], 0
	for i, p := range pkts {
		j.next = append(j.next, -1)
		j.add(int32(i), p)
	}
	return j.runs
}

// Parts appends to dst what the run consists of: a lone packet; or the header of the super-packet, where the
// checksum is the sum of the pseudo header (VIRTIO_NET_HDR_F_NEEDS_CSUM) or, Unverified, whole, and the payloads. The header is
// valid until the next call. The packets themselves stay as they are, and Each gives them.
func (j *Joiner) Parts(dst [][]byte, r *Run) [][]byte {
	if r.Packets == 1 {
		return append(dst, j.pkts[r.first])
	}
	head := j.head[:copy(j.head[:], j.pkts[r.first][:r.Header])]
	total := r.Header + r.payload
	pseudo := putLengths(head, total, r.IP, r.UDP)
	body := head[r.IP:]
	if !r.UDP && r.push {
		body[tcpFlags] |= flagPSH
	}
	if !r.IPv6 {
		putIPv4Checksum(head[:r.IP])
	}
	checksum := fold(pseudo)
	if at := r.ChecksumOffset(); j.Unverified {
		body[at], body[at+1] = 0, 0
		if checksum = ^fold(j.payloads(r, sum(body, pseudo))); checksum == 0 {
			checksum = 0xffff // the same number, and UDP's zero means none
		}
	}
	binary.NativeEndian.PutUint16(body[r.ChecksumOffset():], checksum)
	dst = append(dst, head)
	for i := r.first; i >= 0; i = j.next[i] {
		dst = append(dst, j.pkts[i][r.Header:])
	}
	return dst
}

// payloads adds to s what the payloads of a run sum up to if their checksums are right: the complement of all
// that stands before each of them.
func (j *Joiner) payloads(r *Run, s uint64) uint64 {
	at := 0
	s = uint64(fold(s)) // so that it does not overflow below
	for i := r.first; i >= 0; i = j.next[i] {
		p := j.pkts[i]
		before := ^fold(sum(p[r.IP:r.Header], pseudoSum(p, protocol(r.UDP), len(p)-r.IP)))
		if at%2 == 1 { // its bytes come at the other place of a word
			before = before<<8 | before>>8
		}
		at += len(p) - r.Header
		s += uint64(before)
	}
	return s
}

// Each appends to dst the packets of the run.
func (j *Joiner) Each(dst [][]byte, r *Run) [][]byte {
	for i := r.first; i >= 0; i = j.next[i] {
		dst = append(dst, j.pkts[i])
	}
	return dst
}

// add puts one packet into a run that it continues, or into one of its own.
func (j *Joiner) add(i int32, p []byte) {
	ip, proto, ok := network(p)
	n := 0
	if ok {
		n = transport(p[ip:], proto)
	}
	if n == 0 {
		j.runs = append(j.runs, Run{Packets: 1, first: i, last: i})
		return
	}
	r := Run{Packets: 1, first: i, last: i, IP: ip, Header: ip + n, UDP: proto == protoUDP, IPv6: p[0]>>4 == 6}
	growing := j.may(&r, p)
	for k, o := range j.open[:j.n] {
		old := &j.runs[o]
		if !sameFlow(old, j.pkts[old.first], &r, p) {
			continue
		}
		if growing && j.continues(old, &r, p) {
			j.next[old.last] = i
			old.last = i
			old.Packets++
			old.payload += r.payload
			old.seq += uint32(r.payload)
			old.push = old.push || r.push
			growing = !r.push && r.payload == old.Segment
		} else {
			j.runs = append(j.runs, r)
			j.open[k] = int32(len(j.runs) - 1)
			growing = growing && !r.push
		}
		if !growing { // what comes later in this flow stays behind it
			j.n--
			copy(j.open[k:j.n], j.open[k+1:])
		}
		return
	}
	j.runs = append(j.runs, r)
	if growing && !r.push {
		copy(j.open[1:], j.open[:openRuns-1])
		j.open[0] = int32(len(j.runs) - 1)
		j.n = min(j.n+1, openRuns)
	}
}

// may says whether a packet can be part of a super-packet, and fills in what its run needs.
func (j *Joiner) may(r *Run, p []byte) bool {
	if !r.IPv6 && (r.IP != ipv4Size || int(binary.BigEndian.Uint16(p[2:])) != len(p)) ||
		r.IPv6 && int(binary.BigEndian.Uint16(p[4:])) != len(p)-ipv6Size {
		return false
	}
	body := p[r.IP:]
	r.payload = len(p) - r.Header
	r.Segment = r.payload
	if r.UDP {
		return j.UDP && r.payload > 0 && int(binary.BigEndian.Uint16(body[udpLength:])) == len(body) &&
			(body[udpChecksum] != 0 || body[udpChecksum+1] != 0)
	}
	r.seq = binary.BigEndian.Uint32(body[tcpSequence:]) + uint32(r.payload)
	r.push = body[tcpFlags]&flagPSH != 0
	return j.TCP && r.payload > 0 && body[tcpFlags]&^flagPSH == flagACK
}

// sameFlow compares addresses, ports and protocols.
func sameFlow(a *Run, x []byte, b *Run, y []byte) bool {
	if a.IPv6 != b.IPv6 || a.UDP != b.UDP || a.IP != b.IP {
		return false
	}
	from, to := 12, 20
	if a.IPv6 {
		from, to = 8, 40
	}
	return bytes.Equal(x[from:to], y[from:to]) && bytes.Equal(x[a.IP:a.IP+4], y[a.IP:a.IP+4])
}

// continues says whether p, alone in r, can be the next part of old, of the same flow.
func (j *Joiner) continues(old, r *Run, p []byte) bool {
	first := j.pkts[old.first]
	if r.Header != old.Header || r.payload > old.Segment || old.Header+old.payload+r.payload > maxJoin || r.UDP && old.Packets == maxUDP {
		return false
	}
	if r.IPv6 {
		// Version, class and flow label; the hop limit.
		if !bytes.Equal(first[:4], p[:4]) || first[7] != p[7] {
			return false
		}
	} else {
		const dontFragment = 0x40
		id := binary.BigEndian.Uint16(first[4:]) + uint16(old.Packets)
		// Type of service; flags; time to live. Numbers count where they mean something (RFC 6864).
		if first[1] != p[1] || first[6] != p[6] || first[8] != p[8] ||
			p[6]&dontFragment == 0 && id != binary.BigEndian.Uint16(p[4:]) {
			return false
		}
	}
	if !r.UDP {
		x, y := first[r.IP:], p[r.IP:]
		// Sequence; acknowledgement; data offset; flags but PSH, which are ACK in both; window; options.
		if old.seq != binary.BigEndian.Uint32(y[tcpSequence:]) || !bytes.Equal(x[8:13], y[8:13]) ||
			!bytes.Equal(x[14:16], y[14:16]) || !bytes.Equal(x[18:r.Header-r.IP], y[18:r.Header-r.IP]) {
			return false
		}
	}
	if !old.tried {
		old.tried = true
		if !j.sound(old, first) {
			return false
		}
	}
	return j.sound(r, p)
}

// sound says whether the checksums of p are right, as far as they are ours to verify.
func (j *Joiner) sound(r *Run, p []byte) bool {
	if !r.IPv6 && !right(p[:r.IP], 0) {
		return false
	}
	if j.Unverified {
		return true
	}
	return right(p[r.IP:], pseudoSum(p, protocol(r.UDP), len(p)-r.IP))
}
