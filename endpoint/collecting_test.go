package endpoint

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// TestCollecting: unfinished sign-ins keep a bounded amount together. A long one more ends with its session; short ones, and long ones
// that come to their end, go on.
func TestCollecting(t *testing.T) {
	s := unwired(netip.MustParsePrefix("10.64.0.0/27"))
	s.leave.Now = func() time.Time { return time.Unix(1000, 0) }
	begin := func() *peer {
		p, _ := s.newPeer(sessionKey{from: netip.MustParseAddrPort("192.0.2.1:1000")}, netip.Addr{}, nil)
		t.Cleanup(func() { p.cancel(nil) })
		return p
	}
	var there []*peer
	for range maxCollecting / maxKeyMessageSAML {
		p := begin()
		p.collects(maxKeyMessage)
		p.collects(maxKeyMessageSAML)
		there = append(there, p)
	}
	late, short := begin(), begin()
	late.collects(maxKeyMessageSAML)
	short.collects(maxKeyMessage)
	if !errors.Is(context.Cause(late.ctx), errMessages) {
		t.Errorf("one too many goes on: %v", context.Cause(late.ctx))
	}
	late.collects(0)
	there[0].collects(0)
	begin().collects(maxKeyMessageSAML - maxKeyMessage)
	for i, p := range append(there, short) {
		if p.ctx.Err() != nil {
			t.Fatalf("number %d ended: %v", i, context.Cause(p.ctx))
		}
		p.collects(0)
	}
	if left := s.collecting.Load(); left != maxKeyMessageSAML-maxKeyMessage {
		t.Errorf("%d bytes are counted", left)
	}
}
