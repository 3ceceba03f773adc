package client

import (
	"crypto/x509"
	"maps"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// A clock that is wrong makes certificates look wrong. Nobody issues certificates that begin days later, and nobody
// keeps a server on one that ended many years ago: it is the clock then, such as one that began anew at 1970.
const (
	clockBehind = 24 * time.Hour // of a certificate's begin
	clockAhead  = 10             // years, of its end
)

// wrongClock is the Problem of a clock that the dates of a certificate, which is not valid now, show to be implausible;
// nil: it may be right. Server may be empty, for one's own certificate.
func wrongClock(now time.Time, cert *x509.Certificate, server string) *api.Problem {
	if !now.Before(cert.NotBefore.Add(-clockBehind)) && !now.After(cert.NotAfter.AddDate(clockAhead, 0, 0)) {
		return nil
	}
	const layout = "2006-01-02"
	return api.NewProblem(api.CodeClockWrong, map[string]string{
		"now": now.Format("2006-01-02 15:04 MST"), "server": server,
		"from": cert.NotBefore.Format(layout), "until": cert.NotAfter.Format(layout),
	})
}

// untimely says whether a certificate is not valid yet: a clock that is a little behind makes it so, such as one that was set by another
// time zone. What fails by it is tried again.
func untimely(now time.Time, cert *x509.Certificate) bool { return now.Before(cert.NotBefore) }

// clockStep is by how much a clock is set that matters.
const clockStep = time.Minute

// stepClock notices that the clock was set. One goroutine at a time.
type stepClock struct {
	wall func() time.Time // without a monotonic reading
	seen time.Time        // by wall
	then time.Time        // the same moment, monotonic
}

func newStepClock(wall func() time.Time) *stepClock {
	if wall == nil {
		wall = func() time.Time { return time.Now().Round(0) }
	}
	return &stepClock{wall: wall, seen: wall(), then: time.Now()}
}

// wasSet says whether that happened since the last call. A machine that slept looks the same, and is to try again as well.
func (k *stepClock) wasSet() bool {
	wall, now := k.wall(), time.Now()
	by := wall.Sub(k.seen) - now.Sub(k.then)
	k.seen, k.then = wall, now
	return by.Abs() >= clockStep
}

// withoutTime adds to a failure by a wrong clock that the closed guard keeps it from being set: time servers do not pass it. They answer
// everybody, unauthenticated, and any program could send what it likes to their port.
func (c *connection) withoutTime(f *failure) *failure {
	clock := []string{api.CodeClockWrong, api.CodeCertificateExpired, api.CodeOwnCertificateExpired}
	if f.verdict != absent || !slices.Contains(clock, f.problem.Code) || !c.plan.Guard.Full() {
		return f
	}
	args := map[string]string{api.ArgNoTime: c.wiring.status.Profile}
	maps.Copy(args, f.problem.Args)
	out := *f
	out.problem = api.NewProblem(f.problem.Code, args)
	return &out
}
