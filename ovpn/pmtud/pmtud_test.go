package pmtud

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestSearch finds the largest size of a path, however the peer counts, and in few steps.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name           string
		most, path     int
		counts, rounds int // bytes that the peer adds to what it is asked for, and multiples that it makes
		loss           float64
		want           int // 0 = what the path carries, or the next smaller size
	}{
		{name: "all passes", most: 1492, path: 1500, want: 1492},
		{name: "just", most: 1492, path: 1492, want: 1492},
		{name: "PPPoE", most: 1500, path: 1492, want: 1452},
		{name: "tunnel", most: 1492, path: 1400, want: 1400},
		{name: "one byte less", most: 1492, path: 1399, want: 1360},
		{name: "IPv6's least", most: 1492, path: 1280, want: 1280},
		{name: "tiny", most: 1492, path: 576, want: 576},
		{name: "nothing", most: 1492, path: 500, want: 0},
		{name: "the peer adds", most: 1492, path: 1400, counts: 28, want: 1400},
		{name: "the peer leaves out", most: 1492, path: 1400, counts: -97, want: 1400},
		{name: "blocks", most: 1492, path: 1280, counts: 12, rounds: 16, want: 1280},
		{name: "small wish", most: 1000, path: 900, want: 900},
		{name: "smallest wish", most: 576, path: 1500, want: 576},
		{name: "loss", most: 1492, path: 1400, loss: 0.02, want: 1400},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			s, steps := newSearch(c.most), 0
			for size := s.size(); size > 0; size = s.size() {
				if steps++; steps > 40 {
					t.Fatal("no end")
				}
				const headers = 28
				asked := size - headers
				got := s.ask(asked) + c.counts
				if c.rounds > 0 {
					got = got / c.rounds * c.rounds
				}
				if size > c.path || got > c.path-headers || r.Float64() < c.loss {
					s.lost(false)
				} else if !s.answer(asked, got) {
					t.Fatalf("%d is no answer to %d", got, asked)
				}
			}
			if got := s.largest(); got != c.want {
				t.Errorf("found %d, want %d", got, c.want)
			}
			t.Logf("%d steps", steps)
		})
	}
}

// TestLateAnswer: what comes for a larger or smaller size does not count for the one that is asked for now.
func TestLateAnswer(t *testing.T) {
	s := newSearch(1492)
	if s.answer(1464, 1464-slack-short-1) || s.answer(1464, 1465) || !s.answer(1464, 1400) {
		t.Error("the first answer")
	}
	for _, got := range []int{1400, 1464 - 20, 1464 + 20} {
		if s.answer(1464, got) {
			t.Errorf("%d counts for 1464", got)
		}
	}
	if !s.answer(1464, 1464-15) || s.largest() != 1492 {
		t.Error("the answer")
	}
}

// wire is a path and a peer behind it.
type wire struct {
	mtu, known  int
	delay       time.Duration
	silent      bool // the peer does not answer
	unsupported bool
	loads       chan int
	sent        int
}

const wireHeaders = 28

func (w *wire) LoadRequest(_ time.Time, size, ask int) []byte {
	b := make([]byte, size)
	b[0], b[1] = byte(ask>>8), byte(ask)
	return b
}

func (w *wire) Loads() <-chan int { return w.loads }
func (w *wire) PathMTU() int      { return w.known }

func (w *wire) WriteWhole(b []byte) error {
	if w.sent++; w.unsupported {
		return errors.ErrUnsupported
	}
	got := int(b[0])<<8 | int(b[1])
	if !w.silent && max(len(b), got)+wireHeaders <= w.mtu {
		time.AfterFunc(w.delay, func() {
			select {
			case w.loads <- got:
			default: // as ovpn.Data does
			}
		})
	}
	return nil
}

// TestSearchOverWire: how long it takes, and how much it sends, with and without answers and over long ways.
func TestSearchOverWire(t *testing.T) {
	for _, c := range []struct {
		name   string
		wire   wire
		want   int
		within time.Duration
		sends  int
	}{
		{"usual", wire{mtu: 1500, delay: 30 * time.Millisecond}, 1492, 60 * time.Millisecond, 2},
		{"satellite", wire{mtu: 1500, delay: 700 * time.Millisecond}, 1492, 4 * time.Second, 10},
		{"narrow", wire{mtu: 1400, delay: 30 * time.Millisecond}, 1400, 3 * time.Second, 16},
		{"narrow satellite", wire{mtu: 1400, delay: 700 * time.Millisecond}, 1400, 25 * time.Second, 20},
		{"silent", wire{mtu: 1500, silent: true}, 0, 6 * time.Second, 7},
		{"tiny", wire{mtu: 600}, 576, 10 * time.Second, 30},
		{"a complaint", wire{mtu: 1400, known: 1400}, 1400, time.Second, 10},
		{"unsupported", wire{mtu: 1500, unsupported: true}, 0, 0, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.wire.loads = make(chan int, 9)
				begin := time.Now()
				got, err := Search(t.Context(), &c.wire, &c.wire, 1492, wireHeaders)
				if err != nil || got != c.want {
					t.Errorf("found %d, %v, want %d", got, err, c.want)
				}
				if d := time.Since(begin); d > c.within || c.wire.sent > c.sends {
					t.Errorf("took %v and %d datagrams, want %v and %d", d, c.wire.sent, c.within, c.sends)
				}
				time.Sleep(time.Minute) // the late answers
			})
		})
	}
}

// TestSearchAnyDelay: answers that come after the next try, or after the search, mislead neither that search nor the
// next one.
func TestSearchAnyDelay(t *testing.T) {
	for _, mtu := range []int{1500, 1400} {
		for _, pause := range []time.Duration{0, 300 * time.Millisecond, time.Minute} {
			for delay := 10 * time.Millisecond; delay < 2*time.Second; delay += 10 * time.Millisecond {
				var got [3]int
				var err [len(got)]error
				synctest.Test(t, func(t *testing.T) {
					w := &wire{mtu: mtu, delay: delay, loads: make(chan int, 4)}
					for n := range got {
						got[n], err[n] = Search(t.Context(), w, w, 1492, wireHeaders)
						time.Sleep(pause)
					}
					time.Sleep(time.Minute) // the late answers
				})
				want := min(mtu, 1492)
				if got != [3]int{want, want, want} || errors.Join(err[:]...) != nil {
					t.Errorf("%v, with pauses of %v: found %d, %v, want %d", delay, pause, got, err, want)
				}
			}
		}
	}
}

// TestSearchForgets: answers that nobody took do not count for the next search.
func TestSearchForgets(t *testing.T) {
	for _, late := range []int{1464, 1400, 1252, 548} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{mtu: 1400, delay: 30 * time.Millisecond, loads: make(chan int, 4)}
			for range cap(w.loads) {
				w.loads <- late
			}
			if got, err := Search(t.Context(), w, w, 1492, wireHeaders); err != nil || got != 1400 {
				t.Errorf("after %d: found %d, %v", late, got, err)
			}
		})
	}
}

func TestSearchEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Search(ctx, &wire{silent: true}, &wire{}, 1492, 28); !errors.Is(err, context.Canceled) {
		t.Errorf("Search: %v", err)
	}
}
