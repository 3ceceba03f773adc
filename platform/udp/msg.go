package udp

import (
	"errors"
	"net"
	"net/netip"
	"sync"
)

// msgConn sends and receives a train in one call where the system cuts and joins datagrams by itself, and lets the
// size of each travel in a control message; but one train in each call. It is the implementation for Windows.
type msgConn struct {
	*portableConn
	system dialect

	joined bool   // trains come in; one reader knows
	in     []byte // control messages of ReadBatch

	writing sync.Mutex // guards what follows
	cuts    bool       // trains may go out
	out     []byte     // control messages of WriteBatch
	refused refusals
}

// dialect is how a system speaks of trains.
type dialect struct {
	level int32 // of the control messages
	// cut asks to cut what is sent into datagrams of a size, which takes cutSize bytes; joined says of what size the
	// datagrams of a train that came are.
	cut, cutSize, joined int32
	// join switches the joining of datagrams that come.
	join func(c *net.UDPConn, on bool) error
	// unable says of an error for a train that the system cannot send any; narrow, that it cannot send such long
	// datagrams to this peer.
	unable, narrow func(error) bool
	// longest is the length in bytes of a single datagram that is beyond doubt, 0 for any. A longer one without
	// a control message is taken for a train whose message got lost, of which some network drivers are known.
	longest int
}

func newMsgConn(p *portableConn, system dialect, cuts bool) *msgConn {
	return &msgConn{
		portableConn: p, system: system, cuts: cuts,
		joined: system.join(p.c, true) == nil,
		in:     make([]byte, controlSpace(4)*4),
	}
}

func (m *msgConn) ReadBatch(ms []Message) (int, error) {
	if !m.joined || len(ms) == 0 {
		return m.portableConn.ReadBatch(ms)
	}
	for {
		n, controls, _, from, err := m.c.ReadMsgUDPAddrPort(ms[0].Buf, m.in)
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed):
			return 0, net.ErrClosed
		case passing(err):
			continue
		default:
			return 0, err
		}
		segment := int(findControl(m.in[:controls], m.system.level, m.system.joined))
		if segment == 0 && m.system.longest > 0 && n > m.system.longest {
			// It goes on as it is: if it was a train, nobody can cut it, and who knows the peer drops it.
			m.joined = m.system.join(m.c, false) != nil
		}
		if segment >= n {
			segment = 0
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		ms[0].Addr, ms[0].Local, ms[0].N, ms[0].Segment = from, netip.Addr{}, n, segment
		return 1, nil
	}
}

func (m *msgConn) WriteBatch(ms []Message) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	m.refused.expire()
	var first error
	for i := range ms {
		sent, err := m.trains(&ms[i])
		if first == nil {
			first = err
		}
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
		if sent > 0 && sent == ms[i].N {
			continue
		}
		rest := ms[i : i+1]
		if sent > 0 {
			rest = []Message{{Addr: ms[i].Addr, Buf: ms[i].Buf[sent:ms[i].N], N: ms[i].N - sent, Segment: ms[i].Segment}}
		}
		if err = m.portableConn.WriteBatch(rest); first == nil {
			first = err
		}
		if errors.Is(err, net.ErrClosed) {
			return net.ErrClosed
		}
	}
	return first
}

// trains sends as much of one message as goes in trains, and says how much that is.
func (m *msgConn) trains(x *Message) (sent int, first error) {
	s := x.Segment
	if s <= 0 {
		return 0, nil
	}
	to := x.Addr
	if m.connected {
		to = netip.AddrPort{}
	}
	retried := false
	for x.N-sent > s && m.cuts && m.refused.allow(x.Addr, s) {
		end := min(x.N, sent+s*max(1, min(maxSegments, maxTrain/s)))
		if end-sent <= s {
			break
		}
		m.out = appendControl(m.out[:0], m.system.level, m.system.cut, int(m.system.cutSize), uint32(s))
		_, _, err := m.c.WriteMsgUDPAddrPort(x.Buf[sent:end], m.out, to)
		switch {
		case err == nil:
			sent, retried = end, false
		case errors.Is(err, net.ErrClosed):
			return sent, net.ErrClosed
		case m.system.unable(err):
			m.cuts = false
		case m.system.narrow(err):
			m.refused.add(x.Addr, s)
		default:
			if first == nil {
				first = err
			}
			if passing(err) && !retried {
				retried = true // it was about an earlier datagram
				continue
			}
			sent, retried = end, false
		}
	}
	return sent, first
}

// BufferSize is that of the longest train, which is also that of the longest datagram.
func (m *msgConn) BufferSize() int { return maxDatagram }
