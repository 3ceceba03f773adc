package platform

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/routes"
)

// TestGuardFlushed: another program's "nft flush ruleset" opens the guard for a moment at most.
func TestGuardFlushed(t *testing.T) {
	program, err := exec.LookPath("nft")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("nft is not installed")
	}
	nl, ctx := laptop(t), context.Background()
	w := tap(t, nl)
	h := openHost(t, t.TempDir(), "one", etcDir(t))
	must(t, h.Apply(ctx, routes.Plan{Guard: routes.Everything()}))
	flush := func() {
		t.Helper()
		if out, err := exec.Command(program, "flush", "ruleset").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for range 3 {
		flush()
		for end := time.Now().Add(5 * time.Second); !guards(t, h) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		}
		w.expect("after the flush", false, probeUDP("203.0.113.5:4000"))
	}
	must(t, h.Apply(ctx, routes.Plan{}))
	flush()
	time.Sleep(50 * time.Millisecond)
	if guards(t, h) {
		t.Error("a guard that is open was closed")
	}
}

// TestGuardFails: a guard that cannot be written leaves the one that was there, and nothing to undo if there was none.
func TestGuardFails(t *testing.T) {
	nl, ctx, dir := laptop(t), context.Background(), filepath.Join(t.TempDir(), "journal")
	w := tap(t, nl)
	h := openHost(t, dir, "one", etcDir(t))
	some := routes.Guard{Closed: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}
	huge := some // no transaction of netlink holds so many rules
	server := routes.Endpoint{Address: netip.MustParseAddr(outer), Port: 443, Transport: "udp"}
	huge.Outer = slices.Repeat([]routes.Endpoint{server}, 60_000)
	if err := h.Apply(ctx, routes.Plan{Guard: huge}); !errors.Is(err, ErrGuard) {
		t.Errorf("a guard that was not closed: %v", err)
	}
	if !h.Guard().IsZero() {
		t.Errorf("it says that %+v is closed", h.Guard())
	}
	if b, err := os.ReadFile(h.journal.path); err == nil && strings.Contains(string(b), "closed") {
		t.Errorf("the journal wants it opened: %s", b)
	}
	must(t, h.Apply(ctx, routes.Plan{})) // nothing to open
	must(t, h.Apply(ctx, routes.Plan{Guard: some}))
	if err := h.Apply(ctx, routes.Plan{Guard: huge}); !errors.Is(err, ErrGuard) || !h.Guard().Equal(some) {
		t.Errorf("%v, closed %+v", err, h.Guard().Closed)
	}
	w.expect("after it failed", false, probeUDP("203.0.113.5:4000"))

	// The journal cannot be written, such as on a full disk.
	away := dir + ".away"
	must(t, os.Rename(dir, away))
	if err := h.Apply(ctx, routes.Plan{Guard: routes.Everything()}); err == nil {
		t.Error("it goes on without a journal")
	}
	w.expect("without a journal", false, probeUDP("203.0.113.5:4000"))
	must(t, os.Rename(away, dir))
	must(t, h.Apply(ctx, routes.Plan{Guard: routes.Everything()}))
	w.expect("with it again", false, probeUDP("203.0.113.5:4000"), probeUDP("198.51.100.7:1194"))
}
