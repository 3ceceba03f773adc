package api

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"

	"github.com/adit-vpn/adit/platform/ipc"
)

// door is a listener whose other end a test holds.
type door struct{ conns chan net.Conn }

func (d door) Accept() (net.Conn, error) {
	c, ok := <-d.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (d door) Close() error   { return nil }
func (d door) Addr() net.Addr { return &net.UnixAddr{Name: "door"} }

// TestSilent: where the system tells who is there only after the first bytes, as Windows does, nothing is read of
// those who may not be there, and those who say nothing keep nobody out.
func TestSilent(t *testing.T) {
	d := door{make(chan net.Conn, 2*connsPerUser)}
	spoken := map[net.Conn]ipc.Peer{} // what the system would say
	l := &callerListener{Listener: d, members: func(p ipc.Peer) bool { return p.Account == "7" }, log: slog.New(slog.DiscardHandler), open: map[ipc.Account]int{},
		peerOf: func(c net.Conn) (ipc.Peer, error) {
			p, ok := spoken[c]
			if !ok {
				return ipc.Peer{}, ipc.ErrSilent
			}
			if p.Account == "" {
				return p, errors.New("anonymous")
			}
			return p, nil
		}}
	knock := func() (net.Conn, *callerConn, net.Conn) {
		t.Helper()
		theirs, ours := net.Pipe()
		t.Cleanup(func() { theirs.Close() })
		d.conns <- ours
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return theirs, c.(*callerConn), ours
	}
	speak := func(theirs net.Conn, c *callerConn, ours net.Conn, who ipc.Peer) (string, error) {
		spoken[ours] = who
		go theirs.Write([]byte("hello")) // ends with either end
		b := make([]byte, 16)
		n, err := c.Read(b)
		return string(b[:n]), err
	}

	theirs, c, ours := knock()
	if _, ok := callerOf(withCaller(context.Background(), c.who)); ok {
		t.Error("known before a word")
	}
	if text, err := speak(theirs, c, ours, ipc.Peer{Account: "7", Person: true}); text != "hello" || err != nil {
		t.Fatalf("read %q, %v", text, err)
	}
	if who, ok := c.who(); !ok || who.Account != "7" || !who.Member || who.Root {
		t.Errorf("caller %+v, %v", who, ok)
	}
	if len(l.silent) != 0 || l.open["7"] != 1 {
		t.Errorf("%d silent, open %v", len(l.silent), l.open)
	}

	// Somebody without an identity is not heard.
	if theirs, c, ours := knock(); true {
		if text, err := speak(theirs, c, ours, ipc.Peer{}); text != "" || err == nil {
			t.Errorf("anonymous: %q, %v", text, err)
		}
	}
	if len(l.silent) != 0 {
		t.Errorf("%d silent ones are left", len(l.silent))
	}

	// Silent ones make room for those who come later, who are served.
	var first net.Conn
	for i := range connsPerUser + 5 {
		if theirs, _, _ := knock(); i == 0 {
			first = theirs
		}
	}
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest silent one: %v", err)
	}
	if len(l.silent) != connsPerUser {
		t.Errorf("%d silent, want %d", len(l.silent), connsPerUser)
	}
	theirs2, c2, ours2 := knock()
	if text, err := speak(theirs2, c2, ours2, ipc.Peer{Account: "S-1-5-18", Root: true}); text != "hello" || err != nil {
		t.Errorf("among silent ones: %q, %v", text, err)
	}
	if who, _ := c2.who(); !who.Root || !who.Member {
		t.Errorf("caller %+v", who)
	}

	// One user has no more connections than others, whenever that comes out.
	for range connsPerUser - 1 {
		theirs, c, ours := knock()
		if _, err := speak(theirs, c, ours, ipc.Peer{Account: "7"}); err != nil {
			t.Fatal(err)
		}
	}
	theirs, c3, ours := knock()
	if text, err := speak(theirs, c3, ours, ipc.Peer{Account: "7"}); text != "" || !errors.Is(err, net.ErrClosed) {
		t.Errorf("one too many: %q, %v", text, err)
	}
	if c.Close(); l.open["7"] != connsPerUser-1 {
		t.Errorf("%d open after one left", l.open["7"])
	}
}
