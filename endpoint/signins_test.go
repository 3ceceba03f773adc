package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn/push"
)

// asked is a check that waits for its answer.
type asked struct {
	user   string
	answer chan auth.Outcome
	ended  bool // its context did
}

// desk takes checks of signins and answers them by hand.
type desk struct {
	t  *testing.T
	q  *signins
	mu sync.Mutex

	checks  map[string][]*asked // by user: those that began
	answers map[string][]string // by user: what the clients got
}

func newDesk(t *testing.T) *desk {
	return &desk{t: t, q: newSignins(), checks: map[string][]*asked{}, answers: map[string][]string{}}
}

// begin asks for a check of user from a source, 10.0.0.n.
func (d *desk) begin(ctx context.Context, n byte, user string, password push.Secret) error {
	source := sourceOf(netip.AddrFrom4([4]byte{10, 0, 0, n}))
	check := func(ctx context.Context) (auth.Outcome, error) {
		a := &asked{user: user, answer: make(chan auth.Outcome, 1)}
		d.mu.Lock()
		d.checks[user] = append(d.checks[user], a)
		d.mu.Unlock()
		select {
		case o := <-a.answer:
			return o, nil
		case <-ctx.Done():
			d.mu.Lock()
			a.ended = true
			d.mu.Unlock()
			return nil, ctx.Err()
		}
	}
	return d.q.begin(ctx, source, user, password, check, func(o auth.Outcome, err error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.answers[user] = append(d.answers[user], fmt.Sprintf("%T %v", o, err))
	})
}

// count is how many checks of user began, and how many answers were given.
func (d *desk) count(user string) (checks, answers int) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.checks[user]), len(d.answers[user])
}

// answer is the last one that user's clients got.
func (d *desk) answer(user string) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.answers[user][len(d.answers[user])-1]
}

func (d *desk) reply(user string, i int, o auth.Outcome) {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checks[user][i].answer <- o
}

func TestSigninsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(t.Context())
		for i := range maxSigninsSource {
			if err := d.begin(ctx, 1, "many", push.Secret(fmt.Sprint(i))); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := d.begin(ctx, 1, "many", "more"); !errors.Is(err, errCrowded) {
			t.Errorf("one source may have more than its places: %v", err)
		}
		if n, _ := d.count("many"); n != maxChecksSource {
			t.Errorf("%d checks of one source run, want %d", n, maxChecksSource)
		}
		// Another source does not wait behind it.
		if err := d.begin(ctx, 2, "ann", "secret"); err != nil {
			t.Fatal(err)
		}
		if n, _ := d.count("ann"); n != 1 {
			t.Error("another source waits")
		}
		d.reply("ann", 0, auth.Accepted{})
		// A place that becomes free is taken.
		d.reply("many", 0, auth.Accepted{})
		if n, got := d.count("many"); n != maxChecksSource+1 || got != 1 {
			t.Errorf("%d checks, %d answers", n, got)
		}
		// All together are bounded, too, and then sources take turns.
		for source := byte(3); source < 7; source++ {
			for i := range maxSigninsSource {
				if err := d.begin(ctx, source, fmt.Sprint("from", source), push.Secret(fmt.Sprint(i))); err != nil && source < 6 {
					t.Fatal(source, i, err)
				}
			}
		}
		if err := d.begin(ctx, 9, "late", "x"); !errors.Is(err, errCrowded) {
			t.Errorf("more than all places: %v", err)
		}
		if d.q.checks != maxChecks || d.q.total != maxSignins {
			t.Errorf("%d run of %d", d.q.checks, d.q.total)
		}
		// Whoever goes leaves nothing behind.
		cancel()
		d.q.running.Wait()
		if d.q.checks != 0 || d.q.total != 0 || len(d.q.lines) != 0 || len(d.q.turns) != 0 || len(d.q.checked) != 0 {
			t.Errorf("left behind: %+v", d.q)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for user, list := range d.checks {
			for i, a := range list {
				if !a.ended && !(user == "ann" || user == "many" && i == 0) {
					t.Errorf("check %d of %s was not cancelled", i, user)
				}
			}
		}
	})
}

// TestEqualCredentials: a password is tried once for all who show it at the same time, and
// again only where the answer was not no.
func TestEqualCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		begin := func(source byte, password push.Secret) {
			t.Helper()
			if err := d.begin(ctx, source, "ann", password); err != nil {
				t.Fatal(err)
			}
		}
		for range 5 {
			begin(1, "wrong")
		}
		begin(2, "wrong")
		synctest.Wait()
		begin(1, "other") // does not wait behind them
		if n, got := d.count("ann"); n != 2 || got != 0 {
			t.Fatalf("%d checks, %d answers", n, got)
		}
		d.reply("ann", 0, auth.Denied{Reason: "wrong password"})
		if n, got := d.count("ann"); n != 2 || got != 6 {
			t.Errorf("after a no: %d checks, %d answers", n, got)
		}
		begin(1, "other")
		d.reply("ann", 1, auth.Accepted{}) // one yes is not another's
		if n, got := d.count("ann"); n != 3 || got != 7 {
			t.Errorf("after a yes: %d checks, %d answers", n, got)
		}
		d.reply("ann", 2, auth.Denied{})
		begin(1, "wrong") // later it is tried anew
		if n, _ := d.count("ann"); n != 4 {
			t.Errorf("%d checks", n)
		}
		d.reply("ann", 3, auth.Accepted{})
		d.q.running.Wait()
		if len(d.q.lines) != 0 || d.q.total != 0 {
			t.Errorf("left behind: %+v", d.q)
		}
	})
}

// TestSigninsEnd: neither the turn nor the check takes for ever.
func TestSigninsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		start := time.Now()
		for i := range maxChecksSource + 1 {
			if err := d.begin(t.Context(), 1, fmt.Sprint("user", i), "x"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(signinWait)
		last := fmt.Sprint("user", maxChecksSource)
		if n, got := d.count(last); n != 0 || got != 1 || d.answer(last) != "<nil> "+errCrowded.Error() {
			t.Errorf("who waited too long: %d checks, %s", n, d.answer(last))
		}
		d.q.running.Wait()
		if took := time.Since(start); took != authTime {
			t.Errorf("checks ended after %v", took)
		}
		if got := d.answer("user0"); got != "<nil> "+context.DeadlineExceeded.Error() {
			t.Errorf("answer %s", got)
		}
	})
}
