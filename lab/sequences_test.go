//go:build linux

package lab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// sequences is how many random sequences are tried: 20, or 200 with ADIT_LAB=full, or as many as ADIT_LAB_SEQUENCES says.
func sequences(t *testing.T) int {
	t.Helper()
	if v := os.Getenv("ADIT_LAB_SEQUENCES"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 {
			t.Fatalf("ADIT_LAB_SEQUENCES=%s is no number", v)
		}
		return n
	}
	if os.Getenv("ADIT_LAB") == "full" {
		return 200
	}
	return 20
}

// TestGuardSequences: whatever happens in whatever order, nothing leaves that should not, and after a disconnect the
// system is as before.
func TestGuardSequences(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	p := newPKI(t)
	for seed := range sequences(t) {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			t.Parallel()
			newSequence(t, p, uint64(seed)).run(8)
		})
	}
}

// sequence is one machine to which things happen.
type sequence struct {
	*guarded
	random  *rand.Rand
	network int
	story   []string

	wanted   map[string]bool // profiles that were connected, and not disconnected since
	lockdown bool            // of the profile one
}

func newSequence(t *testing.T, p pki, seed uint64) *sequence {
	t.Helper()
	// The first takes all traffic, the second the networks of the VPC: two that take the same are refused, a network inside a
	// wider one is not.
	g := newGuarded(t, p, endpointConfig{Rules: append(vpcRules(), "0.0.0.0/0"), Routes: []string{"0.0.0.0/0"}},
		map[string][]string{"one": {"redirect-gateway def1 ipv6", `pull-filter ignore "route 10.0.0.0"`, `pull-filter ignore "route-ipv6 fd00:a:"`}, "two": {`pull-filter ignore "route 0.0.0.0"`}})
	g.serve("one", "two")
	q := &sequence{guarded: g, random: rand.New(rand.NewPCG(seed, 7)), wanted: map[string]bool{}}
	return q
}

// closed says whether everything must be closed.
func (q *sequence) closed() bool { return q.lockdown || q.wanted["one"] }

// run does some steps, and then ends everything.
func (q *sequence) run(steps int) {
	q.t.Cleanup(func() {
		if q.t.Failed() {
			q.t.Logf("what happened: %s", strings.Join(q.story, ", "))
		}
	})
	ways := []struct {
		name string
		do   func()
	}{
		{"connect", func() { q.open("one") }},
		{"connect", func() { q.open("one") }},
		{"disconnect", func() { q.shut("one") }},
		{"second tunnel", func() { q.open("two") }},
		{"second disconnect", func() { q.shut("two") }},
		{"cut", func() {
			q.ok(q.client.Link(fmt.Sprintf("eth%d", q.network), false))
			time.Sleep(time.Duration(q.random.IntN(1000)) * time.Millisecond)
			q.moveTo(q.network)
		}},
		{"swap", func() { q.network = 1 - q.network; q.moveTo(q.network) }},
		{"kill", func() {
			q.service.Stop(syscall.SIGKILL, soon)
			time.Sleep(time.Duration(q.random.IntN(300)) * time.Millisecond)
			q.service = q.aditd()
		}},
		{"sleep", func() {
			q.ok(q.service.Cmd.Process.Signal(syscall.SIGSTOP))
			time.Sleep(time.Duration(q.random.IntN(1500)) * time.Millisecond)
			q.ok(q.service.Cmd.Process.Signal(syscall.SIGCONT))
		}},
		{"server", func() {
			q.server.Stop(syscall.SIGKILL, soon)
			time.Sleep(time.Duration(q.random.IntN(300)) * time.Millisecond)
			q.server = q.endpoint()
		}},
		{"lockdown", func() { q.adit("set", "one", "guard=lockdown"); q.lockdown = true; q.blockedOrWanted() }},
		{"no lockdown", func() { q.lockdown = false; q.adit("set", "one", "guard=auto") }},
	}
	for range steps {
		w := ways[q.random.IntN(len(ways))]
		q.story = append(q.story, w.name)
		was := q.closed()
		w.do()
		if !was {
			q.flows()
			q.l.forget() // what left before
		}
		time.Sleep(time.Duration(q.random.IntN(400)) * time.Millisecond)
		if q.closed() {
			q.l.none(fmt.Sprintf("after %s", strings.Join(q.story, ", ")))
		}
		if q.t.Failed() {
			return
		}
	}
	q.story = append(q.story, "the end")
	q.lockdown = false
	q.adit("set", "one", "guard=auto")
	q.adit("disconnect", "--all")
	if q.network != 0 {
		q.network = 0
		q.moveTo(0)
	}
	q.l.all("at the end")
	q.settled("at the end", q.before)
	q.terminate(q.service)
	q.terminate(q.server)
}

// flows waits until the neighbours of a new network are found, if packets may leave: those that are sent before wait for that
// in the kernel, past the guard already, and would leave once it has closed.
func (q *sequence) flows() {
	if q.closed() {
		return
	}
	q.l.forget()
	q.until(soon, "packets flow in an open network", func() bool {
		q.l.mu.Lock()
		defer q.l.mu.Unlock()
		return q.l.seen["ping6"] > 0 && q.l.seen["ping"] > 0
	})
}

// open connects a profile, which may be connected already, or wait for the network.
func (q *sequence) open(name string) {
	q.adit("connect", name, "--timeout", "0")
	q.wanted[name] = true
}

// TestAddressAfterRestart: a server that was killed and started anew gives a second tunnel the address that the first has from
// before. The first has not noticed; both are up all the same, long before a keepalive tells.
func TestAddressAfterRestart(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	q := newSequence(t, newPKI(t), 0)
	q.open("one")
	q.l.forget() // what left before
	before := q.statusOf("one").Tunnel.Addresses
	q.server.Stop(syscall.SIGKILL, soon)
	q.server = q.endpoint()
	q.adit("connect", "two", "--timeout", "8s")
	one, two := q.statusOf("one"), q.statusOf("two")
	if len(before) == 0 || !slices.Equal(two.Tunnel.Addresses, before) {
		t.Errorf("the second has %v, the first had %v: nothing was shown", two.Tunnel.Addresses, before)
	}
	if one.State != api.Connected || slices.Equal(one.Tunnel.Addresses, before) {
		t.Errorf("the first is %s with %v", one.State, one.Tunnel.Addresses)
	}
	q.l.none("beside the first tunnel, which takes everything")
	q.adit("disconnect", "--all")
	q.settled("at the end", q.before)
	q.terminate(q.service)
	q.terminate(q.server)
}

// shut disconnects a profile, which may not be connected.
func (q *sequence) shut(name string) {
	q.wanted[name] = false
	q.adit("disconnect", name)
}

// blockedOrWanted waits until the guard of profile one has closed.
func (q *sequence) blockedOrWanted() {
	q.until(soon, "the lockdown counts", func() bool {
		c := q.statusOf("one")
		return c.Guard == "lockdown" && c.State != api.Disconnected
	})
	time.Sleep(200 * time.Millisecond) // a live tunnel takes it a moment later
}
