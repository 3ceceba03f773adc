package ovpn

import (
	"slices"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

func TestReliableSendsInAWindowAndAgain(t *testing.T) {
	r := &reliable{timeout: 2 * time.Second}
	now := time.Unix(1000, 0)
	for i := range 10 {
		r.queue(wire.ControlV1, []byte{byte(i)})
	}
	ids := func() (out []uint32) {
		for {
			c, ok := r.next(now)
			if !ok {
				return out
			}
			out = append(out, c.ID)
		}
	}
	step := func(what string, want ...uint32) {
		t.Helper()
		if got := ids(); !slices.Equal(got, want) {
			t.Errorf("%s: sent %v, want %v", what, got, want)
		}
	}
	step("first window", 0, 1, 2, 3, 4, 5)
	step("nothing more at once")
	r.acked([]uint32{0, 0, 77})
	step("one acknowledged, one more", 6)
	now = now.Add(2 * time.Second)
	step("timeout", 1, 2, 3, 4, 5, 6)
	now = now.Add(3 * time.Second)
	step("doubled: not yet")
	r.acked([]uint32{2, 3})
	step("two later ones acknowledged: the window begins with the one that is missing")
	r.acked([]uint32{4})
	step("three later ones: again at once", 1)
	now = now.Add(time.Second)
	if d := r.deadline(); d.After(now) {
		t.Errorf("deadline %v is after the second timeout %v", d, now)
	}
	step("second timeout", 5, 6)
	r.acked([]uint32{1, 5})
	step("the window moves on", 7, 8, 9)
	r.hurry(now, time.Millisecond)
	now = now.Add(time.Millisecond)
	step("in a hurry", 6, 7, 8, 9)
	now = now.Add(2 * time.Millisecond)
	step("and again", 6, 7, 8, 9)
	r.acked([]uint32{6, 7, 8, 9})
	if !r.empty() || !r.deadline().IsZero() {
		t.Error("not empty at the end")
	}
}

func TestReliableReceivesInOrder(t *testing.T) {
	r := &reliable{timeout: time.Second}
	for _, id := range []uint32{3, 0, 0, 12, 11, 13, 1} {
		want := id != 12 && id != 13
		dup := id == 0 && len(r.held) == 2
		if got := r.receive(wire.ControlV1, id, []byte{byte(id)}); got != (want && !dup) {
			t.Errorf("receive %d: %v", id, got)
		}
	}
	var got []byte
	for {
		_, p, ok := r.deliver()
		if !ok {
			break
		}
		got = append(got, p...)
	}
	if !slices.Equal(got, []byte{0, 1}) {
		t.Errorf("delivered %v", got)
	}
	if r.receive(wire.ControlV1, 0, nil) {
		t.Error("a delivered packet was taken again")
	}
	c, ok := r.next(time.Unix(0, 0))
	slices.Sort(c.Acks)
	if !ok || c.Op != wire.AckV1 || !slices.Equal(c.Acks, []uint32{0, 1, 3, 11}) {
		t.Errorf("acks %v %v", c.Op, c.Acks)
	}
}

func TestReliableRepeatsAcks(t *testing.T) {
	r := &reliable{timeout: time.Second}
	now := time.Unix(0, 0)
	r.receive(wire.ControlV1, 0, nil)
	r.receive(wire.ControlV1, 1, nil)
	r.next(now) // the ack, which gets lost
	r.queue(wire.ControlV1, []byte("x"))
	c, _ := r.next(now)
	slices.Sort(c.Acks)
	if !slices.Equal(c.Acks, []uint32{0, 1}) {
		t.Errorf("acks %v are not repeated", c.Acks)
	}
	if _, ok := r.next(now); ok {
		t.Error("old acks alone made a packet")
	}
	for i := range uint32(20) {
		r.receive(wire.ControlV1, 2+i%10, nil)
	}
	r.queue(wire.ControlV1, []byte("y"))
	if c, _ := r.next(now); len(c.Acks) > carryAcks {
		t.Errorf("%d acks on a packet with payload", len(c.Acks))
	}
	if c, _ := r.next(now); len(c.Acks) > wire.MaxAcks {
		t.Errorf("%d acks", len(c.Acks))
	}
}
