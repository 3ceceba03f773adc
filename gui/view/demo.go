package view

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// demoNames is how many names are tried for the bundled server's profile where they are taken by others.
const demoNames = 20

// demoError says that the bundled server does not start.
type demoError struct{ error }

// bundled is the profile of a list that is for the bundled server; empty: none is.
func (m *Model) bundled(list []api.Profile) string {
	if m.cfg.Demo == nil {
		return ""
	}
	i := slices.IndexFunc(list, m.cfg.Demo.Serves)
	if i < 0 {
		return ""
	}
	return list[i].Name
}

// tryDemo starts the bundled server, adds its profile and connects.
func (m *Model) tryDemo() {
	switch {
	case m.cfg.Demo == nil || m.s.first.busy || m.s.policy.ForbidUserProfiles:
		return
	case m.s.bundled != "":
		m.connect(m.s.bundled)
		return
	}
	m.s.first = firstRun{busy: true}
	var name string
	m.task(func(ctx context.Context) error {
		text, err := m.cfg.Demo.Start(ctx)
		if err != nil {
			return &demoError{err}
		}
		name = text.Name
		for n := 2; ; n++ {
			_, err = m.cfg.Backend.Import(ctx, api.ImportRequest{Name: name, Text: text.Text})
			if !api.IsCode(err, api.CodeProfileExists) || n > demoNames {
				break
			}
			name = fmt.Sprintf("%s %d", text.Name, n)
		}
		if err != nil {
			return err
		}
		return m.cfg.Backend.Connect(ctx, api.ConnectRequest{Profile: name})
	}, func(err error) {
		m.s.first.busy = false
		switch {
		case err == nil:
			m.s.selected = name
			m.leave(PageProfiles)
			m.s.acted[name], m.s.started[name] = m.cfg.Now(), true
		case !m.demoFailed(err):
			m.fail(err)
		}
		m.refresh()
		m.touch()
	})
}

// openDemoPage shows the page in the bundled server's network, which proves that traffic goes through.
func (m *Model) openDemoPage() {
	if m.cfg.Demo == nil {
		return
	}
	address := m.cfg.Demo.Page()
	m.task(func(context.Context) error { return m.cfg.Open(address) }, func(err error) {
		if err != nil && m.s.dialog == nil {
			m.open(&dialog{kind: DialogError, words: i18n.DemoNotOpened, args: []string{"address", address}})
		}
		m.touch()
	})
}

// startDemo starts the bundled server for its stored profile, whose text becomes the one of now: the server may have
// another port, or other keys, than when it was added.
func (m *Model) startDemo(ctx context.Context, name string) error {
	text, err := m.cfg.Demo.Start(ctx)
	if err != nil {
		return &demoError{err}
	}
	_, err = m.cfg.Backend.Import(ctx, api.ImportRequest{Name: name, Text: text.Text, Replace: true})
	if api.IsCode(err, api.CodeProfileInUse) { // it is connected, or on its way
		err = nil
	}
	m.post(m.refresh)
	return err
}

// resumeDemo starts the bundled server when the app starts and the tunnel to it is wanted still: it connects with the
// session, or the app was killed. The server listens where it did, so that the tunnel finds it.
func (m *Model) resumeDemo() {
	p, ok := m.s.profile(m.s.bundled)
	if !ok || m.s.connection(p).State == api.Disconnected {
		return
	}
	m.task(func(ctx context.Context) error {
		if _, err := m.cfg.Demo.Start(ctx); err != nil {
			return &demoError{err}
		}
		return nil
	}, func(err error) { m.demoFailed(err) })
}

// demoFailed shows why the bundled server did not start, if err says that: on the first page, or else in front.
func (m *Model) demoFailed(err error) bool {
	var why *demoError
	if !errors.As(err, &why) {
		return false
	}
	detail := clean(why.Error(), maxPhrase)
	switch {
	case len(m.s.visible()) == 0:
		m.s.first.detail = detail
	case m.s.dialog == nil:
		m.open(&dialog{kind: DialogError, words: i18n.DemoFailed, args: []string{"detail", detail}})
	}
	m.touch()
	return true
}

// endDemo closes the tunnel to the bundled server, when the app ends: it would look for its server in vain.
func (m *Model) endDemo(ctx context.Context) {
	p, ok := m.s.profile(m.s.bundled)
	if !ok || m.s.connection(p).State == api.Disconnected {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), quitTime)
	defer cancel()
	_ = m.cfg.Backend.Disconnect(ctx, p.Name) // nobody is there to be told; the next start shows it
}
