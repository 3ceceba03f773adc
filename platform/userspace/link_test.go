package userspace

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

// join copies packets between two TUNs, both ways, until they are closed, and
// closes and waits at the end of the test.
func join(t testing.TB, a, b platform.TUN) {
	t.Helper()
	var pumps sync.WaitGroup
	pump := func(from, to platform.TUN) {
		read := make([]offload.Packet, from.BatchSize())
		packets := make([][]byte, 0, len(read))
		var cut offload.Train
		for {
			n, err := from.Read(read)
			if err != nil {
				if !errors.Is(err, os.ErrClosed) {
					t.Errorf("Read: %v", err)
				}
				return
			}
			packets = packets[:0]
			cut.Reset(read[:n])
			for p := cut.Next(); p != nil; p = cut.Next() {
				packets = append(packets, bytes.Clone(p))
			}
			if _, err := to.Write(packets); err != nil && !errors.Is(err, os.ErrClosed) {
				t.Errorf("Write: %v", err)
			}
		}
	}
	pumps.Go(func() { pump(a, b) })
	pumps.Go(func() { pump(b, a) })
	t.Cleanup(func() {
		a.Close()
		b.Close()
		pumps.Wait()
	})
}

// send hands packets to the link as a stack does.
func send(t *testing.T, l *Link, payloads ...string) tcpip.Error {
	t.Helper()
	var list stack.PacketBufferList
	defer list.Reset()
	for _, p := range payloads {
		list.PushBack(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData([]byte(p))}))
	}
	_, err := l.endpoint.WritePackets(list)
	return err
}

func TestLinkReadsBatchesInOrder(t *testing.T) {
	l := NewLink(1400)
	sent := []string{"one", "three", "a longer packet", "five"}
	if err := send(t, l, sent...); err != nil {
		t.Fatal(err)
	}
	var got []string
	for pkts := make([]offload.Packet, 3); len(got) < len(sent); {
		n, err := l.Read(pkts)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pkts[:n] {
			got = append(got, string(p.Bytes))
		}
	}
	if !slices.Equal(got, sent) {
		t.Errorf("read %q, want %q", got, sent)
	}
}

func TestLinkDropsWhenNobodyReads(t *testing.T) {
	l := NewLink(1400)
	for range linkQueue {
		if err := send(t, l, "x"); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(t, l, "y"); err == nil {
		t.Error("a full link took a packet")
	}
	if got := l.Dropped(); got != 1 {
		t.Errorf("Dropped is %d, want 1", got)
	}
}

func TestLinkCloseWakesRead(t *testing.T) {
	l := NewLink(1400)
	result := make(chan error)
	go func() {
		_, err := l.Read(make([]offload.Packet, 1))
		result <- err
	}()
	time.AfterFunc(time.Millisecond, func() { l.Close() })
	if err := <-result; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read after Close: %v", err)
	}
	if _, err := l.Write([][]byte{{0x45}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Close: %v", err)
	}
	if err := send(t, l, "x"); err == nil {
		t.Error("a closed link took a packet")
	}
	if err := l.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestLinkIgnoresGarbage(t *testing.T) {
	l := NewLink(1400)
	s := stack.New(stack.Options{})
	defer s.Close()
	if err := s.CreateNIC(1, l.Endpoint()); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Write([][]byte{nil, {}, {2}, {0x45}, {0x60, 0}, {0xff}}); err != nil || n != 6 {
		t.Errorf("Write: %d, %v", n, err)
	}
}
