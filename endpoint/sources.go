package endpoint

import (
	"errors"
	"net/netip"
	"time"
)

// sources counts what each source address does that may be one attacker. An IPv6
// source is a /64, which anybody has whole. It belongs to peers, under its lock.
type sources struct {
	arrivals map[netip.Prefix]arrived // new sessions lately
}

type arrived struct {
	since time.Time
	n     int
}

// maxSources bounds arrivals. An attacker with more addresses than that, each proved
// by a cookie or a TCP handshake, is not bounded by them.
const maxSources = 4096

// Freq is how many new sessions a source may start in some time.
type Freq struct {
	Sessions int
	Seconds  int
}

var (
	errTooOften      = errors.New("too many new sessions from this address")
	errStillTooOften = errors.New("still too many new sessions from this address")
)

func newSources() sources {
	return sources{arrivals: map[netip.Prefix]arrived{}}
}

func sourceOf(a netip.Addr) netip.Prefix {
	bits := 32
	if a = a.Unmap(); a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// arrive counts a new session, or says that there were too many: errTooOften once
// in a while, errStillTooOften in between.
func (s *sources) arrive(now time.Time, from netip.Prefix, limit Freq) error {
	window := time.Duration(limit.Seconds) * time.Second
	a, known := s.arrivals[from]
	if !known || now.Sub(a.since) >= window {
		if !known && len(s.arrivals) >= maxSources {
			for p, old := range s.arrivals {
				if now.Sub(old.since) >= window {
					delete(s.arrivals, p)
				}
			}
			if len(s.arrivals) >= maxSources {
				clear(s.arrivals)
			}
		}
		a = arrived{since: now}
	}
	a.n++
	s.arrivals[from] = a
	switch {
	case a.n == limit.Sessions+1:
		return errTooOften
	case a.n > limit.Sessions:
		return errStillTooOften
	}
	return nil
}
