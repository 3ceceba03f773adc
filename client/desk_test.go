package client

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestDesk: only the open question takes an answer, and one.
func TestDesk(t *testing.T) {
	var d desk
	refused := func(id string) {
		t.Helper()
		if err := d.answer(api.Answer{ID: id}); !api.IsCode(err, api.CodeQuestionGone) {
			t.Errorf("answer to %q: %v", id, err)
		}
	}
	refused("")
	old, _ := d.open()
	id, answers := d.open()
	if id == old || id == "" {
		t.Fatalf("questions %q and %q", old, id)
	}
	refused(old)
	refused("")
	var taken atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if d.answer(api.Answer{ID: id, Username: "ann"}) == nil {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if a := <-answers; taken.Load() != 1 || a.Username != "ann" {
		t.Errorf("%d answers taken, %+v", taken.Load(), a)
	}
	id, _ = d.open()
	d.close()
	refused(id)
}
