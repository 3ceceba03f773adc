package view

import (
	"context"
	"reflect"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// retryMost is the longest pause between two tries to reach the service; the first is a second.
const retryMost = 5 * time.Second

// watch listens to the service, again and again until ctx ends.
func (m *Model) watch(ctx context.Context) {
	wait := time.Second
	for {
		err := m.cfg.Backend.Watch(ctx, func(s api.Status) error {
			wait = time.Second
			m.post(func() { m.onStatus(s) })
			return ctx.Err()
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = api.NewProblem(api.CodeServiceStopping, nil)
		}
		m.post(func() { m.onLost(api.AsProblem(err)) })
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		wait = min(2*wait, retryMost)
	}
}

// onLost takes that the service cannot be listened to.
func (m *Model) onLost(p *api.Problem) {
	was := m.s.service
	if was == ServiceReachable {
		m.s.outage = m.cfg.Now().Add(outageTime)
		for name, c := range m.s.mine() {
			if c.State == api.Connected || c.State == api.Reconnecting {
				m.s.cut[name] = true
			}
		}
	}
	m.s.problem, m.s.service, m.s.remote = p, serviceState(p), nil
	for _, t := range m.s.meters {
		t.gap()
	}
	m.dropQuestions(nil)
	if was != m.s.service {
		m.touch()
	}
	m.later()
}

// serviceState is what a problem says about the service.
func serviceState(p *api.Problem) ServiceState {
	switch {
	case p.Code == api.CodeServiceUnreachable && p.Args["detail"] == api.DetailNotRunning:
		return ServiceNotRunning
	case p.Code == api.CodeNotPermitted, p.Code == api.CodeServiceUnreachable && p.Args["detail"] == api.DetailNotPermitted:
		return ServiceNotPermitted
	}
	return ServiceLost
}

// onStatus takes a snapshot of the service.
func (m *Model) onStatus(status api.Status) {
	old := m.s.mine()
	back := !m.s.reachable()
	if back {
		m.s.service, m.s.problem = ServiceReachable, nil
		m.refresh()
		m.loadVersion()
		if m.s.page == PageLog {
			m.openLog()
		}
	}
	moved := !reflect.DeepEqual(withoutCounters(m.s.status), withoutCounters(status))
	if !reflect.DeepEqual(m.s.status.Policy, status.Policy) {
		moved = true
		if m.s.policy = m.cfg.Policy; status.Policy != nil {
			m.s.policy = policyOf(status.Policy)
		}
		m.refresh() // managed profiles may have come or gone, and settings may be others
	}
	m.s.status = status
	m.settle(old, false)
	for name, c := range m.s.mine() {
		if c.State == api.Connected || c.State == api.Disconnecting {
			delete(m.s.cut, name)
		}
	}
	if m.unlisted() {
		m.refresh()
	}
	if moved || back {
		m.touch()
	} else {
		m.later()
	}
}

// settle does what follows from the difference between the tunnels that were there and those that are. With
// first they were there before anybody looked, and are no news.
func (m *Model) settle(old map[string]api.Connection, first bool) {
	now := m.cfg.Now()
	mine := m.s.mine()
	for name, c := range mine {
		if c.State == api.Connected && !c.Hidden {
			t := m.s.meters[name]
			if t == nil {
				t = &meter{}
				m.s.meters[name] = t
			}
			t.count(now, c.Since, c.Counters)
		} else if t := m.s.meters[name]; t != nil {
			t.gap()
		}
		m.follow(old[name], c)
		m.notice(old[name], c, first)
	}
	for name, c := range old {
		if _, there := mine[name]; !there {
			gone := c
			gone.State, gone.Problem, gone.Login = api.Disconnected, nil, nil
			m.follow(c, gone)
			m.notice(c, gone, first)
			delete(m.s.meters, name)
		}
	}
	m.dropQuestions(mine)
	m.s.choose()
}

// unlisted says whether there is a tunnel of the person's whose profile is not in the list: it was imported
// elsewhere. One that is not in the list that is read then, as another user's that root sees, is not asked
// for again.
func (m *Model) unlisted() bool {
	if !m.s.listed {
		return false
	}
	known := map[string]bool{}
	for _, p := range m.s.profiles {
		known[p.Name] = true
	}
	unknown := false
	for _, c := range m.s.status.Connections {
		if c.Profile != "" && !known[c.Profile] && !m.foreign[c.Profile] {
			m.foreign[c.Profile], unknown = true, true
		}
	}
	return unknown
}

func withoutCounters(s api.Status) []api.Connection {
	out := make([]api.Connection, len(s.Connections))
	for i, c := range s.Connections {
		c.Counters = api.Counters{}
		out[i] = c
	}
	return out
}

// refresh reads the list of profiles again.
func (m *Model) refresh() {
	var list []api.Profile
	m.task(func(ctx context.Context) (err error) {
		list, err = m.cfg.Backend.Profiles(ctx)
		return err
	}, func(err error) {
		if err != nil {
			if !api.IsCode(err, api.CodeServiceUnreachable) { // the watch tells
				m.fail(err)
			}
			return
		}
		old := m.s.mine()
		first := !m.s.listed
		m.s.profiles, m.s.listed, m.s.bundled = list, true, m.bundled(list)
		m.s.forget()
		m.settle(old, first)
		if first {
			m.resumeDemo()
		}
		m.loadSettings()
		m.touch()
	})
}

func (m *Model) loadVersion() {
	var v api.Version
	m.task(func(ctx context.Context) (err error) {
		v, err = m.cfg.Backend.Version(ctx)
		return err
	}, func(err error) {
		if m.s.remote = nil; err == nil {
			m.s.remote = &v
		}
		m.later()
	})
}
