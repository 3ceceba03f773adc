// Package pmtud finds out how large packets may be on the way to a peer, without help of routers: packetization
// layer path MTU discovery (RFC 8899) over openvpn's OCC messages, as its --mtu-test sends them.
//
// A path may carry smaller packets than its ends believe, and the router that loses the others may be kept
// from saying so: what is small passes, and each download stands still. So the peer is asked for datagrams of
// several sizes, by a datagram that has the size itself and that no router may cut.
package pmtud

import (
	"context"
	"errors"
	"slices"
	"time"
)

// Base is a packet in bytes that nearly every path carries (IPv6 demands it), to begin with. Most is the largest
// that is worth a try.
const (
	Base = 1280
	Most = 1500
)

// Again is how long a result is good for (RFC 8899, PMTU_RAISE_TIMER).
const Again = 10 * time.Minute

const (
	tries    = 3                      // of one size until it counts as lost (RFC 8899, MAX_PROBES)
	first    = 400 * time.Millisecond // that the first answer is waited for; each further try is given as much more
	least    = 200 * time.Millisecond // that any answer is waited for
	slack    = 64                     // bytes that a peer may send beyond what it is asked for (openvpn: 32)
	short    = 128                    // bytes that it may send less (openvpn 2.4: 97); see ovpn.Data.Loads
	distance = 40                     // least distance of two sizes, bytes
)

// Path is the way to the peer. WriteWhole sends one datagram, which arrives in one piece or not at all;
// errors.ErrUnsupported says that the system cannot. PathMTU is the largest packet that the system believes to pass, in bytes; 0 for
// unknown.
type Path interface {
	WriteWhole(datagram []byte) error
	PathMTU() int
}

// Data is the part of ovpn.Data that asks.
type Data interface {
	LoadRequest(now time.Time, size, ask int) []byte
	Loads() <-chan int
}

// Search returns the largest packet that passes both ways, of most bytes at most; 0 when the peer never answers,
// as not every peer does. Headers is what a packet has in front of a datagram of data. It takes two round trips when most
// passes, else some seconds, and fails with ctx only. One at a time for one data.
func Search(ctx context.Context, path Path, data Data, most, headers int) (largest int, err error) {
	for len(data.Loads()) > 0 {
		<-data.Loads() // late, for an earlier search
	}
	s := newSearch(most)
	patience := time.Duration(0) // for an answer, once one came
	var begin time.Time          // of the first try of a size: the answer may be to that (Karn's algorithm)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for size := s.size(); size > 0; size = s.size() {
		if n := path.PathMTU(); n > 0 && n < size { // a router did complain
			s.lost(true)
			continue
		}
		asked := size - headers
		request := data.LoadRequest(time.Now(), asked, s.ask(asked))
		if request == nil || errors.Is(path.WriteWhole(request), errors.ErrUnsupported) {
			s.lost(true)
			continue
		}
		if s.tries[s.at] == 0 {
			begin = time.Now()
		}
		wait := patience
		if wait == 0 {
			wait = first * time.Duration(1+s.tries[s.at])
		}
		timer.Reset(wait)
		for waiting := true; waiting; {
			select {
			case got := <-data.Loads():
				if s.answer(asked, got) {
					patience = max(patience, least, 3*time.Since(begin)/2)
					waiting = false
				}
			case <-timer.C:
				s.lost(false)
				waiting = false
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
	}
	return s.largest(), nil
}

// search decides what to try next. It does not know how datagrams are sent, nor the time.
type search struct {
	sizes []int // of packets outside in bytes, from the one that is wished for downwards
	tries []int // of each that got no answer
	base  int   // index of the first to try when that is lost
	good  int   // index of the largest that arrived; len(sizes) for none
	bad   int   // index of the smallest that was lost; -1 for none
	at    int   // index of the one being tried
	// offset is what must be asked for beyond a size to get that, bytes, once an answer told.
	offset  int
	counted bool
}

// newSearch begins with packets of most bytes.
func newSearch(most int) *search {
	sizes := []int{most}
	for _, n := range []int{1452, 1400, 1360, 1320, Base, 1240, 1200, 1100, 1000, 900, 800, 700, 576} {
		if n <= most-distance {
			sizes = append(sizes, n)
		}
	}
	s := &search{sizes: sizes, tries: make([]int, len(sizes)), good: len(sizes), bad: -1}
	// Far enough from the first size that its answers are not mistaken for this one's.
	s.base = slices.IndexFunc(sizes, func(n int) bool { return n <= min(Base, most-slack-short) })
	if s.base < 0 {
		s.base = len(sizes) - 1
	}
	return s
}

// size is what to try now; 0 when the search is over. As long as nothing has come at all, the first size is tried
// once only: whether the peer answers is the first question.
func (s *search) size() int {
	last := len(s.sizes) - 1
	switch {
	case s.good <= s.bad+1:
		return 0
	case !s.counted && s.tries[0] == 0, s.counted && s.bad < 0:
		s.at = 0
	case s.good <= last:
		s.at = (s.good + s.bad) / 2
	case s.bad < s.base:
		s.at = s.base
	default:
		s.at = last
	}
	return s.sizes[s.at]
}

// ask is what to ask the peer for so that it sends a datagram of size bytes; less before it is known how it counts.
func (s *search) ask(size int) int {
	if !s.counted {
		return size - slack
	}
	return size + s.offset
}

// answer takes the size of a datagram that came where one of size bytes was wanted, and says whether that
// was news. The first answer only tells how the peer counts.
func (s *search) answer(size, got int) bool {
	if !s.counted {
		s.offset = size - slack - got
		s.counted = s.offset >= -slack && s.offset <= short
		return s.counted
	}
	if off := size - got; max(off, -off) >= distance/2 {
		return false // late, for another size
	}
	s.good = s.at
	return true
}

// lost notes that a try got no answer; final says that another one is of no use.
func (s *search) lost(final bool) {
	if s.tries[s.at]++; final {
		s.tries[s.at] = tries
	}
	if s.tries[s.at] >= tries {
		s.bad = s.at
	}
}

// largest is the largest packet that arrived; 0 when none did.
func (s *search) largest() int {
	if s.good == len(s.sizes) {
		return 0
	}
	return s.sizes[s.good]
}
