package ovpn_test

import (
	"testing"
	"time"
)

// TestProbeIsAnswered: within a round trip on an idle tunnel, whose own pings are far away.
func TestProbeIsAnswered(t *testing.T) {
	c, s := setup(t)
	p := up(t, c, s, quiet, 1)
	p.Run(2*time.Second, nil)
	before := p.Now
	if !p.Client.Session.LastHeard().Before(before) {
		t.Fatalf("heard at %v, now it is %v", p.Client.Session.LastHeard(), before)
	}
	if err := p.Client.Session.Probe(); err != nil {
		t.Fatal(err)
	}
	woken := p.Run(time.Second, func() bool {
		select {
		case <-p.Server.Session.Data().Wake():
			return p.Server.Session.Tick(p.Now) == nil
		default:
			return false
		}
	})
	if !woken || !p.Run(time.Second, func() bool { return p.Client.Session.LastHeard().After(before) }) {
		t.Errorf("the server woke: %t; heard last at %v", woken, p.Client.Session.LastHeard())
	}
	if d := p.Now.Sub(before); d > 50*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
	// The answer is no question: nothing goes back and forth from here on.
	p.Run(time.Second, nil)
	select {
	case <-p.Client.Session.Data().Wake():
		t.Error("the answer wakes the client")
	default:
	}
	p.Client.Session.Abort()
	if err := p.Client.Session.Probe(); err == nil {
		t.Error("a dead session probes")
	}
}
