package platformtest

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/routes"
)

// Host records what it is told to apply. Safe for concurrent use.
type Host struct {
	mu      sync.Mutex
	facts   routes.Facts
	plans   []routes.Plan
	calls   []string
	fail    map[string]error
	tun     *TUN
	outside *TUN
	closed  bool
	changes chan struct{}
	opened  chan *TUN
}

var _ platform.Host = (*Host)(nil)

// NewHost is a Host on a machine with these facts.
func NewHost(facts routes.Facts) *Host {
	return &Host{facts: facts, fail: map[string]error{}, changes: make(chan struct{}, 1), opened: make(chan *TUN, 64)}
}

// Fail makes the named call ("OpenTUN", "Facts", "Apply", "Close") return err until it is set to nil.
func (h *Host) Fail(call string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail[call] = err
}

// SetFacts changes the underlay and signals it.
func (h *Host) SetFacts(f routes.Facts) {
	h.mu.Lock()
	h.facts = f
	h.mu.Unlock()
	select {
	case h.changes <- struct{}{}:
	default:
	}
}

// Plans are all applied plans, in order, failed ones left out.
func (h *Host) Plans() []routes.Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]routes.Plan(nil), h.plans...)
}

// Current is the plan in force.
func (h *Host) Current() routes.Plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.plans) == 0 {
		return routes.Plan{}
	}
	return h.plans[len(h.plans)-1]
}

// Calls are the names of all calls so far, in order.
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.calls...)
}

// IsClosed reports whether Close was called.
func (h *Host) IsClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

// Opened delivers the outside end of every TUN that was opened: what the test
// sends there is read from the device, as if an application had sent it.
func (h *Host) Opened() <-chan *TUN { return h.opened }

// Outside is the outside end of the last opened TUN, nil before.
func (h *Host) Outside() *TUN {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outside
}

// enter records a call and returns the error that it shall have.
func (h *Host) enter(call string) error {
	h.calls = append(h.calls, call)
	if h.closed && call != "Close" && call != "Leave" {
		return os.ErrClosed
	}
	return h.fail[call]
}

// OpenTUN makes a pair in memory; its name is the hint, or "tun0".
func (h *Host) OpenTUN(name string, mtu int) (platform.TUN, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter("OpenTUN"); err != nil {
		return nil, err
	}
	if h.tun != nil {
		select {
		case <-h.tun.Closed():
		default:
			return nil, errors.New("the TUN device is open already")
		}
	}
	if name == "" {
		name = "tun0"
	}
	h.tun, h.outside = Pair(name, mtu)
	select {
	case h.opened <- h.outside:
	default:
	}
	return h.tun, nil
}

func (h *Host) Facts(context.Context) (routes.Facts, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter("Facts"); err != nil {
		return routes.Facts{}, err
	}
	return h.facts, nil
}

func (h *Host) Apply(ctx context.Context, plan routes.Plan) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.enter("Apply"); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	h.plans = append(h.plans, plan)
	return nil
}

// LeaveGuard makes the Host begin with what a crashed run left closed.
func (h *Host) LeaveGuard(g routes.Guard) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.plans = append(h.plans, routes.Plan{Guard: g})
}

func (h *Host) Guard() routes.Guard { return h.Current().Guard }

func (h *Host) Changes() <-chan struct{} { return h.changes }

// Close records the zero Plan when another one is in force, as a real Host undoes.
func (h *Host) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end("Close", routes.Plan{})
}

// Leave records a plan of nothing but the guard in force, as a real Host leaves it.
func (h *Host) Leave() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var last routes.Plan
	if len(h.plans) > 0 {
		last.Guard = h.plans[len(h.plans)-1].Guard
	}
	return h.end("Leave", last)
}

func (h *Host) end(call string, last routes.Plan) error {
	err := h.enter(call)
	if !h.closed && len(h.plans) > 0 && !h.plans[len(h.plans)-1].Equal(last) {
		h.plans = append(h.plans, last)
	}
	h.closed = true
	return err
}
