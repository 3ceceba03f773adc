package endpoint

import (
	"fmt"
	"testing"
	"time"
)

func TestHistory(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	h := NewHistory(func() time.Time { return now })
	add := func(id string) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.add(Connection{ID: id, Status: StatusTerminated, Ended: now, RxBytes: 3, TxPackets: 2})
	}
	add("first")
	now = now.Add(59 * time.Minute)
	add("second")
	if got := h.Ended(); len(got) != 2 || got[0].ID != "first" || got[1].ID != "second" {
		t.Fatalf("%+v", got)
	}
	now = now.Add(time.Minute)
	if got := h.Ended(); len(got) != 1 || got[0].ID != "second" {
		t.Fatalf("after an hour: %+v", got)
	}
	for i := range historySize {
		add(fmt.Sprint(i))
	}
	if got := h.Ended(); len(got) != historySize || got[0].ID != "0" || got[historySize-1].ID != fmt.Sprint(historySize-1) {
		t.Fatalf("%d sessions from %s to %s", len(got), got[0].ID, got[len(got)-1].ID)
	}
	now = now.Add(2 * time.Hour)
	if got := h.Ended(); len(got) != 0 {
		t.Errorf("%d sessions much later", len(got))
	}
	if want := (moved{rxBytes: 3 * (historySize + 2), txPackets: 2 * (historySize + 2)}); h.moved != want {
		t.Errorf("moved %+v, want %+v: what was forgotten counts, too", h.moved, want)
	}
}

// TestEndedSessions: who left and who was terminated stay listed, with the last counters.
func TestEndedSessions(t *testing.T) {
	r := start(t, "udp")
	ann, reply := r.connect(t, "ann")
	ann.ping(t, reply.Address.Addr())
	bob, _ := r.connect(t, "bob")
	bob.cancel()
	<-bob.done
	r.until(t, func() bool { return len(r.Connections()) == 1 })
	before := r.Connections()[0]
	if before.Status != StatusActive || !before.Ended.IsZero() {
		t.Errorf("a session: %+v", before)
	}
	r.Terminate(before.ID, "")
	r.until(t, func() bool { return len(r.Connections()) == 0 })
	got := r.AllConnections()
	if len(got) != 2 || got[0].Client != "bob" || got[1].Client != "ann" {
		t.Fatalf("%+v", got)
	}
	for i, why := range []string{"the client left", "terminated by the administrator"} {
		if c := got[i]; c.Status != StatusTerminated || c.Ended.Before(c.Since) || time.Since(c.Ended) > time.Hour || c.Reason != why {
			t.Errorf("%+v, want it to end because %s", c, why)
		}
	}
	if after := got[1]; after.RxBytes < before.RxBytes || after.TxBytes < before.TxBytes || after.RxPackets == 0 {
		t.Errorf("it ended with %+v, after %+v", after, before)
	}
}
