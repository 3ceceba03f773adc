// Package reach finds out whether a destination answers, for adit explain --probe and the desktop app: which way it goes,
// says the service; what comes back, say at most three probes of the user's own process; and what follows from both.
package reach

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

const (
	// probeWait is how long each of three probes waits for an answer: most of the second is for a SYN that is sent
	// again after a second.
	probeWait = 2 * time.Second
	// lookupWait bounds the question to the system's resolver.
	lookupWait = 10 * time.Second
)

// Verdict is what came of the probes.
type Verdict string

// The verdicts.
const (
	Answered    Verdict = "answered"
	Refused     Verdict = "refused"     // the host is there, nothing listens on the port
	NoRoute     Verdict = "no route"    // this machine knows no way
	Closed      Verdict = "closed"      // the tunnel's plan leads nowhere, on purpose
	Unreachable Verdict = "unreachable" // a router on the way says so
	Firewall    Verdict = "firewall"    // of this machine, and not the guard
	Guarded     Verdict = "guarded"     // the guard stopped it
	Lost        Verdict = "lost"        // it entered the tunnel, and nothing came back
	Outside     Verdict = "outside"     // it was to enter the tunnel, and nothing did
	Silent      Verdict = "silent"      // no answer, for no reason that is known here
)

// ErrNoDevice says that the tunnel ends in a program, so that no probe of another one can enter it.
var ErrNoDevice = errors.New("this tunnel ends in a program, and no route of the system leads into it")

// LookupError is a name without an address.
type LookupError struct {
	Name string
	Err  error
}

func (e *LookupError) Error() string {
	return fmt.Sprintf("this system's resolver has no address for %s: %v", e.Name, e.Err)
}

func (e *LookupError) Unwrap() error { return e.Err }

// Service is what is asked of the service: *api.Client.
type Service interface {
	Explain(ctx context.Context, destination string) (routes.Explanation, error)
	Status(ctx context.Context) (api.Status, error)
}

// Target is what a person wants to reach.
type Target struct {
	Name    string     // as given, where it is a name
	Address netip.Addr // zero: Name is not looked up yet
	Port    uint16     // TCP; 0 = none given
}

// Parse reads DEST or DEST:PORT; an IPv6 address with a port is in brackets.
func Parse(text string) (Target, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return Target{Address: a}, nil
	}
	host, t := text, Target{}
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		host = text[1 : len(text)-1]
	} else if strings.Contains(text, ":") {
		h, p, err := net.SplitHostPort(text)
		if err != nil {
			return t, fmt.Errorf("%q is neither DEST nor DEST:PORT", text)
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return t, fmt.Errorf("%q is not a port", p)
		}
		host, t.Port = h, uint16(n)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		t.Address = a
		return t, nil
	}
	if host == "" || len(host) > 253 || strings.ContainsAny(host, "[]/:% \t\r\n\x00") {
		return Target{}, fmt.Errorf("%q is neither an address nor a name", host)
	}
	t.Name = host
	return t, nil
}

// Resolve asks the system's resolver for the address of a name, as every program of the user does, and takes the one that
// it puts first. A target with an address is returned as it is.
func (t Target) Resolve(ctx context.Context) (Target, error) {
	if t.Address.IsValid() {
		return t, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupWait)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.Name)
	if err != nil || len(addrs) == 0 {
		var wrong *net.DNSError
		if errors.As(err, &wrong) {
			err = errors.New(wrong.Err)
		}
		return t, &LookupError{t.Name, cmp.Or(err, errors.New("none was given"))}
	}
	t.Address = addrs[0].Unmap()
	return t, nil
}

// Report is what was found out.
type Report struct {
	Target      Target
	Explanation routes.Explanation
	Probe       probe.Result
	Entered     bool // the tunnel's counter of sent packets grew meanwhile
	Verdict     Verdict
}

// Do finds the target's address and way, and tries it.
func Do(ctx context.Context, s Service, t Target) (Report, error) {
	t, err := t.Resolve(ctx)
	if err != nil {
		return Report{Target: t}, err
	}
	x, err := s.Explain(ctx, t.Address.String())
	if err != nil {
		return Report{Target: t}, err
	}
	return Try(ctx, s, t, x)
}

// Try probes a target that is resolved, and whose way x is known. Silence is no error.
func Try(ctx context.Context, s Service, t Target, x routes.Explanation) (Report, error) {
	r := Report{Target: t, Explanation: x}
	if x.Way == routes.WayTunnel && x.Device == "" && x.Profile != "" {
		return r, ErrNoDevice
	}
	before := sentBy(ctx, s, x)
	var err error
	if r.Probe, err = probe.Do(ctx, t.Address, t.Port, probeWait); err != nil {
		return r, err
	}
	r.Entered = sentBy(ctx, s, x) > before
	r.Verdict = judge(x, r.Probe.Outcome, r.Entered)
	return r, nil
}

// sentBy is how many packets the tunnel of x has taken so far; 0 where x leads into none, or into another user's.
func sentBy(ctx context.Context, s Service, x routes.Explanation) uint64 {
	if x.Way != routes.WayTunnel || x.Profile == "" {
		return 0
	}
	status, err := s.Status(ctx)
	if err != nil {
		return 0
	}
	for _, t := range status.Connections {
		if t.Profile == x.Profile && t.Tunnel.Device == x.Device {
			return t.Counters.TxPackets
		}
	}
	return 0
}

func judge(x routes.Explanation, o probe.Outcome, entered bool) Verdict {
	switch o {
	case probe.Answered:
		return Answered
	case probe.Refused:
		return Refused
	case probe.NoRoute:
		return NoRoute
	case probe.Unreachable:
		if x.Way == routes.WayUnreachable || x.Way == routes.WayNone {
			return Closed
		}
		return Unreachable
	case probe.Blocked:
		if !x.Blocked {
			return Firewall
		}
		return Guarded
	}
	switch {
	case x.Blocked: // a SYN that the firewall drops is silence to a program
		return Guarded
	case x.Way == routes.WayTunnel && entered:
		return Lost
	case x.Way == routes.WayTunnel && x.Profile != "":
		return Outside
	}
	return Silent
}
