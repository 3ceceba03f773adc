package pki

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

func TestWrapKeys(t *testing.T) {
	now := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	p, err := OpenAt(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Init(Options{}); err != nil {
		t.Fatal(err)
	}
	server, err := p.WrapServer()
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.WrapServer(); err != nil || again != server {
		t.Errorf("another server key the second time, %v", err)
	}
	if info, err := os.Stat(p.WrapServerFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("server key: %v, %v", info, err)
	}
	client := func(name string, server wrap.ServerKey, age time.Duration) string {
		t.Helper()
		key, err := p.WrapClient(name, server, age)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := server.Open(key); err != nil || m.Expired(now, time.Second) {
			t.Fatalf("metadata %x, %v", m, err)
		}
		return string(key.Text())
	}
	ann := client("ann", server, 0)
	if client("ann", server, time.Hour) != ann {
		t.Error("ann's key changed")
	}
	if client("bob", server, 0) == ann || client("", server, 0) == ann {
		t.Error("others have ann's key")
	}
	if _, err := os.Stat(p.WrapClientFile("")); err == nil {
		t.Error("the key of nobody was kept")
	}
	now = now.Add(2 * time.Hour)
	later := client("ann", server, time.Hour)
	if later == ann {
		t.Error("a key that is too old was kept")
	}
	other, err := wrap.GenerateServerKey(&counter{})
	if err != nil {
		t.Fatal(err)
	}
	if client("ann", other, 0) == later {
		t.Error("a key of another server was kept")
	}
	current := client("ann", server, 0)
	if _, err := p.Client("ann", Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Renew("ann", Options{}); err != nil {
		t.Fatal(err)
	}
	renewed := client("ann", server, 0)
	if renewed == current {
		t.Error("a renewal kept the key")
	}
	if err := p.Revoke("ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p.WrapClientFile("ann")); err == nil {
		t.Error("a revocation kept the key")
	}
	if _, err := p.WrapClient("../ann", server, 0); !errors.Is(err, ErrBadName) {
		t.Errorf("bad name: %v", err)
	}
	if err := os.WriteFile(p.WrapServerFile(), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.WrapServer(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("corrupt server key: %v", err)
	}
}

// counter is a reader of different bytes.
type counter struct{ n byte }

func (c *counter) Read(b []byte) (int, error) {
	for i := range b {
		c.n++
		b[i] = c.n
	}
	return len(b), nil
}
