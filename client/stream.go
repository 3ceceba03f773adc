package client

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn/framing"
)

// writeTimeout is how long a TCP connection may take nothing before it counts as lost. The session's
// goroutine waits in it: nothing else goes on meanwhile, not even ping-restart.
const writeTimeout = 20 * time.Second

// streamLink is a TCP connection, where each packet has its length in front.
type streamLink struct {
	sync.Mutex
	conn    net.Conn
	traffic *traffic

	deciding sync.Mutex
	last     bool // the deadline for writing is fixed
}

func newStreamLink(c net.Conn, t *traffic) *streamLink { return &streamLink{conn: c, traffic: t} }

func (*streamLink) gap() int { return framing.HeaderSize }

func (l *streamLink) write(buf []byte, sizes []int) error {
	n, err := l.conn.Write(buf[:framing.PutEach(buf, sizes)]) // the net package lets one Write at a time through
	l.traffic.out.Add(uint64(n))
	return err
}

func (l *streamLink) send(packet []byte) error {
	return l.within(func() error {
		n, err := l.conn.Write(framing.Append(make([]byte, 0, framing.HeaderSize+len(packet)), packet))
		l.traffic.out.Add(uint64(n))
		return err
	})
}

// within fails with os.ErrDeadlineExceeded when the connection takes nothing, whoever writes; it is of no use then,
// because a part of a packet may have gone out.
func (l *streamLink) within(f func() error) error {
	l.deadline(time.Now().Add(writeTimeout), false)
	defer l.deadline(time.Time{}, false)
	return f()
}

// hurry gives all further writes a second: a peer that does not read must not hold up the end.
func (l *streamLink) hurry() { l.deadline(time.Now().Add(time.Second), true) }

func (l *streamLink) deadline(t time.Time, last bool) {
	l.deciding.Lock()
	defer l.deciding.Unlock()
	if !l.last {
		l.last = last
		_ = l.conn.SetWriteDeadline(t)
	}
}

func (l *streamLink) close() error { return l.conn.Close() }

func (l *streamLink) local() netip.Addr {
	if a, ok := l.conn.LocalAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// errStuck is the end of a connection that takes nothing any more.
var errStuck = errors.New("the connection takes nothing any more")
