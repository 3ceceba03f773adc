package client

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/client/api"
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
	if s.answer(1464, 1464-pathSlack-pathShort-1) || s.answer(1464, 1465) || !s.answer(1464, 1400) {
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

// TestPathMTU: the tunnel follows what the path carries, and without an answer the profile.
func TestPathMTU(t *testing.T) {
	for _, c := range []struct {
		name, lines     string
		most, deviceMTU int
		known, mtu      int
	}{
		{"wide", "", 0, 1500, 1492, 1500},
		{"narrow", "", 1400 - 28, 1500, 1400, 1400 - 28 - 28},
		{"narrow device", "", 0, 1420, 1420, 1420 - 28 - 28},
		{"a router complained", "", 1200, 1240, 1200, 1200 - 28 - 28},
		{"nobody answers", "", 1, 1500, 0, 1500},
		{"small wish", "mssfix 1300 mtu\n", 1372, 1500, 1300, 1500},
		{"no wish", "mssfix 0\n", 1372, 1500, 0, 1500},
		{"fixed", "mssfix 1500 fixed\n", 0, 1500, 1500, 1500},
		{"a system that knows nothing", "", 1372, 0, 1400, 1400 - 28 - 28},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.most, s.deviceMTU = c.most, c.deviceMTU
				st := roaming(t, s, "remote 203.0.113.5\n"+c.lines)
				time.Sleep(20 * time.Second)
				got := st.untilState(alice, "work", api.Connected, 0)
				if got.Tunnel.PathMTU != c.known || got.Tunnel.MTU != c.mtu {
					t.Errorf("%+v, want a path of %d bytes and an MTU of %d", got.Tunnel, c.known, c.mtu)
				}
				if !ping(t, st.host(0), "an inner packet, long enough to look like one") {
					t.Error("the packet did not come back")
				}
			})
		})
	}
}

// TestPathMTUChanges: a path that becomes narrow under way, and wide again, is followed; a moment without
// answers changes nothing.
func TestPathMTUChanges(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		s.deviceMTU = 1500
		st := roaming(t, s, "remote 203.0.113.5\n")
		for _, c := range []struct{ most, known, mtu int }{{0, 1492, 1500}, {1372, 1400, 1344}, {1, 1400, 1344}, {0, 1492, 1500}} {
			s.set(func() {
				for theirs := range s.sessions {
					theirs.peer.Load().most.Store(int64(c.most))
				}
			})
			time.Sleep(pathAgain + 20*time.Second)
			synctest.Wait()
			got := st.untilState(alice, "work", api.Connected, 0)
			if got.Tunnel.PathMTU != c.known || got.Tunnel.MTU != c.mtu {
				t.Errorf("with %d bytes: %+v", c.most, got.Tunnel)
			}
		}
	})
}
