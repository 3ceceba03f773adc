package platformtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/routes"
)

func TestPairCarriesBatches(t *testing.T) {
	defer goleak.VerifyNone(t)
	in, out := Pair("tun0", 1400)
	pkts := [][]byte{[]byte("one"), []byte("two")}
	if n, err := in.Write(pkts); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	copy(pkts[0], "xxx") // Write does not keep the buffers
	got := make([]offload.Packet, 3)
	n, err := out.Read(got)
	if n != 2 || err != nil || !bytes.Equal(got[0].Bytes, []byte("one")) || !bytes.Equal(got[1].Bytes, []byte("two")) {
		t.Fatal(n, err, got)
	}
	done := make(chan error)
	go func() { _, err := out.Read(got); done <- err }()
	out.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("blocked Read: %v", err)
	}
	if err := in.Send([]byte("lost")); err != nil {
		t.Errorf("write to a closed other end: %v", err)
	}
	in.Close()
	in.Close()
	if err := in.Send([]byte("late")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
}

func TestHostRecords(t *testing.T) {
	h := NewHost(routes.Facts{})
	tun, err := h.OpenTUN("", 1500)
	if err != nil || tun.Name() != "tun0" || <-h.Opened() != h.Outside() {
		t.Fatal(err)
	}
	if _, err := h.OpenTUN("", 1500); err == nil {
		t.Error("a second TUN opened beside the first")
	}
	if tun.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.OpenTUN("", 1500); err != nil {
		t.Error(err)
	}
	boom := errors.New("boom")
	h.Fail("Apply", boom)
	if err := h.Apply(context.Background(), routes.Plan{MTU: 1}); err != boom {
		t.Error(err)
	}
	h.Fail("Apply", nil)
	if err := h.Apply(context.Background(), routes.Plan{MTU: 2}); err != nil || h.Current().MTU != 2 {
		t.Error(err)
	}
	h.SetFacts(routes.Facts{Routes: []routes.UnderlayRoute{{Device: "eth0"}}})
	<-h.Changes()
	if f, _ := h.Facts(context.Background()); f.Routes[0].Device != "eth0" {
		t.Error(f)
	}
	h.Close()
	if p := h.Plans(); len(p) != 2 || !p[1].IsZero() || !h.IsClosed() {
		t.Errorf("%+v", p)
	}
	if err := h.Apply(context.Background(), routes.Plan{}); !errors.Is(err, os.ErrClosed) {
		t.Error(err)
	}
}
