package client

import (
	"crypto/x509"
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
