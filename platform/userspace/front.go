package userspace

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
)

const (
	maxConnections   = 1024             // of one front at once; more wait in the kernel's queue
	handshakeTimeout = 10 * time.Second // for a program to say what it wants
	dialTimeout      = 30 * time.Second // through the tunnel, name lookup included
)

// Credentials guard a front. The zero value matches nothing.
type Credentials struct{ User, Password string }

// String leaves the password out.
func (c Credentials) String() string { return fmt.Sprintf("user %q, password redacted", c.User) }

// GoString is String.
func (c Credentials) GoString() string { return c.String() }

// LogValue is String.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// match takes the same time wherever the two differ.
func (c Credentials) match(user, password string) bool {
	u := subtle.ConstantTimeCompare([]byte(c.User), []byte(user))
	p := subtle.ConstantTimeCompare([]byte(c.Password), []byte(password))
	return u&p == 1 && c != Credentials{}
}

// ErrExposed is wrapped by CheckBind's refusal.
var ErrExposed = errors.New("other machines could use the tunnel")

// CheckBind refuses to open a front to other machines without credentials: addr
// must then be HOST:PORT with a loopback address or "localhost".
func CheckBind(addr string, hasCredentials bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("bad listening address %q: want ADDRESS:PORT", addr)
	}
	if _, err := parsePort(port, true); err != nil {
		return fmt.Errorf("bad listening address %q: %w", addr, err)
	}
	if hasCredentials || strings.EqualFold(host, "localhost") {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Unmap().IsLoopback() {
		return nil
	}
	return fmt.Errorf("refusing to listen at %q without credentials: %w; use 127.0.0.1 or ::1", addr, ErrExposed)
}

// serve hands each connection of the listener to handle until ctx ends, then
// closes all of them and the listener, and waits. handle need not close its connection.
func serve(ctx context.Context, listener net.Listener, handle func(context.Context, net.Conn)) error {
	listener = limit(listener)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { listener.Close() })()
	failures := 0
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil:
			if conn != nil {
				conn.Close()
			}
			return nil
		case err != nil && (errors.Is(err, net.ErrClosed) || failures == 20):
			return err
		case err != nil: // out of file descriptors, say: others may be given back
			failures++
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		failures = 0
		all.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			handle(ctx, conn)
		})
	}
}

// limitedListener accepts only so many connections at a time.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	close  sync.Once
}

func limit(l net.Listener) *limitedListener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, maxConnections), closed: make(chan struct{})}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: conn, slots: l.slots}, nil
}

func (l *limitedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its slot back when it closes.
type limitedConn struct {
	net.Conn
	slots chan struct{}
	close sync.Once
}

func (c *limitedConn) Close() error {
	err := c.Conn.Close()
	c.close.Do(func() { <-c.slots })
	return err
}

func (c *limitedConn) CloseWrite() error { return closeWrite(c.Conn) }

// closeWrite tells the peer that no more follows, by closing all where there is
// no other way.
func closeWrite(c net.Conn) error {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// relay copies both ways until both are done or ctx ends. The end of one direction
// is passed on, and the other goes on; an error ends both. It closes b, and a is the caller's.
func relay(ctx context.Context, a, b net.Conn) {
	defer b.Close()
	defer context.AfterFunc(ctx, func() { b.Close(); a.SetDeadline(time.Unix(1, 0)) })()
	var other sync.WaitGroup
	other.Go(func() { oneWay(b, a) })
	oneWay(a, b)
	other.Wait()
}

// oneWay copies from src to dst and passes the end on.
func oneWay(dst, src net.Conn) {
	if _, err := io.Copy(dst, src); err != nil {
		dst.SetDeadline(time.Unix(1, 0))
		src.SetDeadline(time.Unix(1, 0))
		return
	}
	closeWrite(dst)
}

// refused reports whether the far side answered a dial with a reset.
func refused(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), (&tcpip.ErrConnectionRefused{}).String())
}

// timedOut reports whether nobody answered.
func timedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() ||
		err != nil && strings.HasSuffix(err.Error(), (&tcpip.ErrTimeout{}).String())
}
