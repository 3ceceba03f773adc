// Package drive is the one loop that runs an ovpn.Session with a real clock. It
// moves control packets only; data packets go past it, straight between the
// socket and ovpn.Data. It opens nothing and starts no goroutine: Run is the loop.
package drive

import (
	"context"
	"errors"
	"time"

	"github.com/adit-vpn/adit/ovpn"
)

// Config connects a Session to the world. All callbacks run on Run's goroutine.
type Config struct {
	// In brings control packets; each slice belongs to Run.
	In <-chan []byte
	// Send sends one unframed packet, which it may keep. An error ends Run, so a
	// UDP sender returns one only when its socket is gone; a lost packet is repeated.
	Send func(packet []byte) error
	// Say, if set, seals (ovpn.Data.SealMessage) and sends what s says in the data channel; else Send gets it sealed.
	// Where a packet may be sealed and sent beside Run, set it, and do both in one step: a packet that is late is
	// refused as a repetition. Errors are as Send's.
	Say func(now time.Time, message []byte) error
	// Handle takes one event and may call s. An error closes the session
	// gracefully and is what Run returns.
	Handle func(now time.Time, s *ovpn.Session, ev ovpn.Event) error
	// Around, if set, must run work, which is what the packets that are there in In lead to, Send and Handle included: a server
	// bounds how many of its sessions calculate at a time.
	Around func(work func())
	// Do brings work from other goroutines; an error ends Run as Handle's does.
	Do <-chan func(now time.Time, s *ovpn.Session) error
}

// Run drives s until it dies, until ctx ends (then s is closed gracefully, which
// takes a second at most, and the context's cause is returned), or until
// Handle, Do or Send fail. In the end s is dead, whatever the reason.
func Run(ctx context.Context, s *ovpn.Session, cfg Config) error {
	r := &runner{cfg: cfg, s: s}
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer s.Abort() // when Send failed, nothing else has ended it
	done := ctx.Done()
	if err := r.drain(time.Now()); err != nil {
		return r.result(err)
	}
	s.Prepare()
	for {
		if err := r.drain(time.Now()); err != nil {
			return r.result(err)
		}
		wait := time.Hour
		if d := s.Deadline(); !d.IsZero() {
			wait = max(time.Until(d), 0)
		}
		timer.Reset(wait)
		var err error
		select {
		case p := <-cfg.In:
			var broken error
			if err, broken = r.packet(p); broken != nil {
				return r.result(broken)
			}
		case f := <-cfg.Do:
			if ferr := f(time.Now(), s); ferr != nil {
				r.close(ferr)
			}
		case <-timer.C:
			err = s.Tick(time.Now())
		case <-s.Data().Wake():
			err = s.Tick(time.Now())
		case <-done:
			done = nil
			if err = r.rest(); err == nil {
				r.close(context.Cause(ctx))
			}
		}
		if err != nil && !errors.Is(err, ovpn.ErrDropped) {
			r.drain(time.Now())
			return r.result(err)
		}
	}
}

// runner remembers why a graceful close began.
type runner struct {
	cfg   Config
	s     *ovpn.Session
	cause error
}

// packet does all that one control packet leads to, and those that have come behind it: they are answered together,
// so that what they have in common, as acknowledgements, is sent once. err is the session's, broken that of Send.
func (r *runner) packet(p []byte) (err, broken error) {
	work := func() {
		now := time.Now()
		for more := len(r.cfg.In); ; more-- {
			if err = r.s.Handle(now, p); err != nil && !errors.Is(err, ovpn.ErrDropped) {
				return
			}
			if more == 0 {
				break
			}
			p = <-r.cfg.In // nobody else takes from it
		}
		broken = r.drain(now)
	}
	if r.cfg.Around == nil {
		work()
	} else {
		r.cfg.Around(work)
	}
	return err, broken
}

// rest takes what had come before the end: a stream that ended may have said why.
func (r *runner) rest() error {
	for range len(r.cfg.In) {
		if err := r.s.Handle(time.Now(), <-r.cfg.In); err != nil && !errors.Is(err, ovpn.ErrDropped) {
			return err
		}
	}
	return r.drain(time.Now())
}

func (r *runner) close(cause error) {
	if r.cause == nil {
		r.cause = cause
		r.s.Close(time.Now())
	}
}

// result is the error that Run returns when the session ended with err.
func (r *runner) result(err error) error {
	if r.cause != nil {
		return r.cause
	}
	return err
}

// drain sends what is ready and hands out events, until there is neither.
func (r *runner) drain(now time.Time) error {
	for {
		idle := true
		for r.cfg.Say != nil {
			m := r.s.NextMessage()
			if m == nil {
				break
			}
			idle = false
			if err := r.cfg.Say(now, m); err != nil {
				return err
			}
		}
		for p := r.s.NextPacket(now); p != nil; p = r.s.NextPacket(now) {
			idle = false
			if err := r.cfg.Send(p); err != nil {
				return err
			}
		}
		for ev := r.s.NextEvent(); ev != nil; ev = r.s.NextEvent() {
			idle = false
			if err := r.cfg.Handle(now, r.s, ev); err != nil {
				r.close(err)
			}
		}
		if idle {
			return nil
		}
	}
}
