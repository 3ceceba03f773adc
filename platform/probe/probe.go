// Package probe finds out whether a host answers: at most three packets of the user's own process, which go the way
// that the system gives them. It needs no privilege.
package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Count is how many probes are sent before silence is taken for an answer.
const Count = 3

// Outcome is what came of the probes.
type Outcome string

// The outcomes. All but NoAnswer are known at once.
const (
	Answered    Outcome = "answered"
	Refused     Outcome = "refused"     // nothing listens on the port, or a firewall says so
	Blocked     Outcome = "blocked"     // the machine's own firewall: EPERM
	NoRoute     Outcome = "no_route"    // the machine has no way to the address
	Unreachable Outcome = "unreachable" // a router on the way or the network beside the machine says so
	NoAnswer    Outcome = "no_answer"
)

// Result is what was tried and what came of it.
type Result struct {
	Method  string        `json:"method"`         // "icmp" or "tcp"
	Port    uint16        `json:"port,omitempty"` // of the last probe; 0 with icmp
	Sent    int           `json:"sent"`           // probes, 1 to Count
	Outcome Outcome       `json:"outcome"`
	RTT     time.Duration `json:"-"` // with Answered
}

// errNoPing says that this system or this user has no socket for pings.
var errNoPing = errors.New("no socket for pings")

// web are the ports that are tried where no port is given and a ping cannot be sent, in turn.
var web = []uint16{443, 80}

// Do probes dest and waits up to wait for each answer. With a port it opens TCP connections there. Without one it
// sends ICMP echo requests, or where the system does not let this user (Linux: net.ipv4.ping_group_range), opens TCP
// connections to ports 443 and 80, where a refusal is an answer, too. An error is the context's, or one that says
// nothing about the destination.
func Do(ctx context.Context, dest netip.Addr, port uint16, wait time.Duration) (Result, error) {
	dest = dest.Unmap()
	if port != 0 {
		return connect(ctx, dest, []uint16{port}, wait)
	}
	r, err := ping(ctx, dest, wait)
	if !errors.Is(err, errNoPing) {
		return r, err
	}
	r, err = connect(ctx, dest, web, wait)
	if r.Outcome == Refused {
		r.Outcome = Answered
	}
	return r, err
}

// connect opens TCP connections to ports, one after the other, until something is known.
func connect(ctx context.Context, dest netip.Addr, ports []uint16, wait time.Duration) (Result, error) {
	r := Result{Method: "tcp"}
	for r.Sent < Count {
		r.Port = ports[r.Sent%len(ports)]
		r.Sent++
		begin := time.Now()
		conn, err := (&net.Dialer{Timeout: wait, KeepAlive: -1}).DialContext(ctx, "tcp", netip.AddrPortFrom(dest, r.Port).String())
		r.RTT = time.Since(begin)
		if err == nil {
			r.Outcome = Answered
			return r, conn.Close()
		}
		if done, err := r.judge(ctx, err); done {
			return r, err
		}
	}
	return r, nil
}

// judge fills in the outcome that err means and says whether more probes are of no use.
func (r *Result) judge(ctx context.Context, err error) (done bool, _ error) {
	if ctx.Err() != nil {
		return true, ctx.Err()
	}
	is := func(list []error) bool {
		return slices.ContainsFunc(list, func(e error) bool { return errors.Is(err, e) })
	}
	var late interface{ Timeout() bool }
	switch {
	case is(refusals):
		r.Outcome = Refused
	case is(blocks):
		r.Outcome = Blocked
	case is(noRoutes):
		r.Outcome = NoRoute
	case is(unreachables):
		r.Outcome = Unreachable
	case errors.As(err, &late) && late.Timeout():
		r.Outcome = NoAnswer
		return false, nil
	default:
		return true, err
	}
	return true, nil
}
