package client

import (
	"cmp"
	"fmt"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
)

// limits end a tunnel for good that is idle, old, or silent (openvpn(8): --inactive, --session-timeout,
// --ping-exit). Times are those of the monotonic clock, which a sleeping machine's does not count.
// The session's goroutine owns them.
type limits struct {
	inactive      time.Duration // 0 = never; this long with fewer bytes than inactiveBytes
	inactiveBytes uint64
	session       time.Duration // 0 = never
	silence       time.Duration // 0 = never

	began  time.Time
	active time.Time // when the bytes were last enough
	bytes  uint64    // at that time
}

// began starts the limits that the server and the profile set; the server's come later and win.
func (a *running) began(reply push.Reply) {
	own := &a.c.spec
	now := time.Now()
	l := limits{
		inactive: own.inactive, inactiveBytes: uint64(own.inactiveBytes),
		session: cmp.Or(reply.SessionTimeout, own.sessionTimeout),
		silence: reply.PingExit,
		began:   now, active: now,
	}
	if reply.Inactive > 0 {
		l.inactive, l.inactiveBytes = reply.Inactive, uint64(reply.InactiveBytes)
	}
	if l.silence == 0 && reply.PingRestart == 0 {
		l.silence = a.c.spec.pingExit
	}
	a.limit = l
	a.limited.Store(l.from())
	a.c.status.SessionEnds = nil
	if l.session > 0 {
		ends := now.Add(l.session)
		a.c.status.SessionEnds = &ends
	}
}

// from is the first moment at which one of the limits may be reached; nil: there are none.
func (l *limits) from() *time.Time {
	switch {
	case l.inactive > 0 || l.silence > 0: // what passes is counted all the time
		return &l.began
	case l.session > 0:
		ends := l.began.Add(l.session)
		return &ends
	}
	return nil
}

// limits fails when one of the limits is reached.
func (a *running) limits(now time.Time, s *ovpn.Session) error {
	l := &a.limit
	ended := func(format string, args ...any) error {
		return fail(stop, api.CodeSessionEnded, map[string]string{"reason": fmt.Sprintf(format, args...), "profile": a.c.wiring.status.Profile}, nil)
	}
	n := s.Data().Counters()
	if sum := n.Bytes(); sum-l.bytes >= max(l.inactiveBytes, 1) {
		l.bytes, l.active = sum, now
	}
	switch {
	case l.session > 0 && now.Sub(l.began) >= l.session:
		return ended("its time is over (session-timeout %d)", l.session/time.Second)
	case l.inactive > 0 && now.Sub(l.active) >= l.inactive:
		return ended("nothing has passed through it for %v (inactive)", l.inactive)
	case l.silence > 0 && now.Sub(s.LastHeard()) >= l.silence:
		return ended("%s has been silent for %v (ping-exit)", a.at.server, l.silence)
	}
	return nil
}
