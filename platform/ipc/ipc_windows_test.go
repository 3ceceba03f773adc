package ipc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// own is the name of a pipe that no other test has.
func own(t *testing.T) string {
	return fmt.Sprintf(`\\.\pipe\adit-test-%d-%s`, os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))
}

// pair is a client and the server's end, which has read one byte.
func pair(t *testing.T, path string) (client, server net.Conn, l net.Listener) {
	t.Helper()
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if client, err = Dial(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server, l
}

func TestPipe(t *testing.T) {
	nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
		path := own(t)
		l, err := Listen(path, 0o600)
		if err != nil {
			return nil, nil, nil, err
		}
		if c1, err = Dial(context.Background(), path); err == nil {
			c2, err = l.Accept()
		}
		return c1, c2, func() { c1.Close(); c2.Close(); l.Close() }, err
	})
}

func TestPeer(t *testing.T) {
	client, server, _ := pair(t, own(t))
	if _, err := PeerOf(server); !errors.Is(err, ErrSilent) {
		t.Errorf("before a word: %v", err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p, err := PeerOf(server)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Account.Valid() || p.PID != os.Getpid() || p.User() == "" {
		t.Errorf("peer %+v", p)
	}
	t.Logf("peer %+v, %s, member %v", p, p.User(), p.Member("adit"))
	if _, err := PeerOf(client); err == nil || errors.Is(err, ErrSilent) {
		t.Errorf("the client's end: %v", err)
	}
}

func TestClose(t *testing.T) {
	path := own(t)
	l, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := l.Accept()
		done <- err
	}()
	time.Sleep(50 * time.Millisecond) // most times it waits by then; either way it has to end
	l.Close()
	l.Close()
	if err := <-done; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept after Close: %v", err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("dial of a closed one: %v", err)
	}
	again, err := Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// TestLast: what was written before Close arrives, and then the end.
func TestLast(t *testing.T) {
	client, server, _ := pair(t, own(t))
	if _, err := server.Write(bytes.Repeat([]byte("x"), 10000)); err != nil {
		t.Fatal(err)
	}
	server.Close()
	if b, err := io.ReadAll(client); len(b) != 10000 || err != nil {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestMany: clients that come at once are all served, and those that go at once harm nobody.
func TestMany(t *testing.T) {
	path := own(t)
	l, err := Listen(path, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	var serving, asking sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { defer c.Close(); io.Copy(c, c) })
		}
	})
	for i := range 40 {
		asking.Go(func() {
			ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
			defer stop()
			c, err := Dial(ctx, path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if i%3 == 0 {
				return
			}
			c.SetDeadline(time.Now().Add(20 * time.Second))
			b := make([]byte, 5)
			if _, err := c.Write([]byte("hello")); err != nil {
				t.Error(err)
			} else if _, err := io.ReadFull(c, b); err != nil || string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
		})
	}
	asking.Wait()
	l.Close()
	serving.Wait()
}

// TestFile: the path of a file has a pipe of its own.
func TestFile(t *testing.T) {
	dir := filepath.Join(os.TempDir(), fmt.Sprint("adit-test-", os.Getpid())) // never made
	client, _, _ := pair(t, filepath.Join(dir, "control.sock"))
	if name := client.RemoteAddr().String(); len(name) < 20 {
		t.Errorf("pipe %s", name)
	}
	if _, err := Dial(t.Context(), filepath.Join(dir, "other.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another file: %v", err)
	}
}
