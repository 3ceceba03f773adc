package endpoint

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waiting is how many wait for a turn.
func (t *turns) waiting() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.queue {
		for e := t.queue[i].order.Front(); e != nil; e = e.Next() {
			n += len(e.Value.(*sourceLine).turns)
		}
	}
	return n
}

// TestTurnsOrder: who has begun comes first, then the sources take turns, and each source's own are in
// the order in which they came.
func TestTurnsOrder(t *testing.T) {
	many, few, other := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("2001:db8::/64")
	turns := newTurns(1)
	if !turns.take(t.Context(), many, false) {
		t.Fatal("no turn")
	}
	got := make(chan string)
	var wg sync.WaitGroup
	for i, w := range []struct {
		name   string
		source netip.Prefix
		begun  bool
	}{
		{"many 1", many, false}, {"many 2", many, false}, {"many 3", many, false}, {"few 1", few, false}, {"other 1", other, false},
		{"few 2", few, false}, {"begun 1", many, true}, {"begun 2", many, true}, {"begun 3", few, true},
	} {
		wg.Go(func() {
			turns.take(context.Background(), w.source, w.begun)
			got <- w.name
			turns.give()
		})
		for turns.waiting() != i+1 {
			time.Sleep(time.Millisecond)
		}
	}
	turns.give()
	want := []string{"begun 1", "begun 3", "begun 2", "many 1", "few 1", "other 1", "many 2", "few 2", "many 3"}
	var order []string
	for range want {
		order = append(order, <-got)
	}
	wg.Wait()
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	if turns.free != 1 || len(turns.queue[0].lines)+len(turns.queue[1].lines) != 0 {
		t.Errorf("left: %+v", turns)
	}
}

// TestTurnsOfNewClients: a source that always has work of handshakes that have begun leaves every fourth turn to others.
func TestTurnsOfNewClients(t *testing.T) {
	turns := newTurns(1)
	if !turns.take(t.Context(), ipv4(0), true) {
		t.Fatal("no turn")
	}
	got := make(chan string)
	var wg sync.WaitGroup
	ask := func(name string, source netip.Prefix, begun bool) {
		n := turns.waiting()
		wg.Go(func() {
			turns.take(context.Background(), source, begun)
			got <- name
		})
		for turns.waiting() != n+1 {
			time.Sleep(time.Millisecond)
		}
	}
	ask("busy", ipv4(1), true)
	var order []string
	for i := range 20 {
		// There is always one more of the busy source. The others come later, a source each.
		ask("busy", ipv4(1), true)
		if i == 4 {
			ask("new 1", ipv4(2), false)
			ask("new 2", ipv4(3), false)
			ask("new 3", ipv4(4), false)
		}
		turns.give()
		order = append(order, <-got)
	}
	for i, name := range []string{"new 1", "new 2", "new 3"} {
		if at := slices.Index(order, name); at != 4+(maxAhead+1)*(i+1)-1 {
			t.Errorf("%s had turn %d of %q", name, at, order)
		}
	}
	for turns.waiting() > 0 {
		turns.give()
		<-got
	}
	turns.give()
	wg.Wait()
	if turns.free != 1 {
		t.Errorf("left: %+v", turns)
	}
}

// TestTurnsBound: never more at a time than there are turns, and who gives up waiting takes none along.
func TestTurnsBound(t *testing.T) {
	turns := newTurns(3)
	var now, most, worked atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		if i%3 == 0 {
			time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
		}
		wg.Go(func() {
			defer cancel()
			if !turns.take(ctx, netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(i % 5)}), 32), i%2 == 0) {
				return
			}
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(50 * time.Microsecond)
			now.Add(-1)
			worked.Add(1)
			turns.give()
		})
	}
	wg.Wait()
	if most.Load() > 3 || worked.Load() < 133 {
		t.Errorf("%d at a time, %d had a turn", most.Load(), worked.Load())
	}
	if turns.free != 3 || turns.waiting() != 0 {
		t.Errorf("left: %+v", turns)
	}
}
