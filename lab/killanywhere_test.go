//go:build linux

package lab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestKillAnywhere kills the service at random points of connecting, being connected and disconnecting. Every other time
// aditd cleanup puts the system back, byte for byte; else the next run has it connected, or blocked, and never open where it was closed.
func TestKillAnywhere(t *testing.T) {
	t.Parallel()
	needs(t, "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")
	random := rand.New(rand.NewPCG(3, 1))
	for i := range sequences(t) {
		// What is under way when the kill comes: the connecting takes some 30 ms here.
		story := fmt.Sprintf("round %d: ", i)
		closed := false // the guard has been seen closed, and nobody has disconnected since
		adit := func(args ...string) {
			story += strings.Join(args, " ") + ", "
			s.adit(args...)
		}
		if random.IntN(3) > 0 {
			adit("connect", "lab", "--timeout", "20s")
			closed = true
			l.forget()
		}
		ctx, cancel := context.WithCancel(t.Context())
		var under []string
		if closed {
			if under = []string{"disconnect", "lab"}; random.IntN(2) == 0 {
				under = nil
			}
		} else {
			under = []string{"connect", "lab"}
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if under != nil {
				_, _ = s.client.Run(ctx, append([]string{bin(t, "adit")}, under...)...) // it may be cut off
			}
		}()
		wait := time.Duration(random.IntN(100_000)) * time.Microsecond
		time.Sleep(wait)
		g.service.Stop(syscall.SIGKILL, soon)
		cancel()
		<-done
		story += fmt.Sprintf("%s for %v, kill", strings.Join(under, " "), wait)
		if closed && under == nil {
			l.none(story)
		}
		if i%2 == 0 {
			s.run(s.client, bin(t, "aditd"), "cleanup", "--state", s.stateDir())
			s.settled(story+", cleanup", g.before)
			g.service = s.aditd() // and the wish, if it was written, is resumed
		} else {
			g.service = s.aditd()
			if closed && under == nil {
				s.until(soon, "connected again", func() bool { return s.statusOf("lab").State == api.Connected })
				l.none(story + ", restart")
			}
		}
		s.adit("disconnect", "lab")
		s.settled(story+", disconnect", g.before)
		if t.Failed() {
			return
		}
	}
	s.terminate(g.service)
	s.terminate(g.server)
}
