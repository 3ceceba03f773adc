package view

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// amoment is how long what follows a click counts as the person's own doing.
const amoment = time.Minute

// told is what the person was told about one profile since it was last connected, or last let go.
type told struct {
	signIn bool // since the last time that nothing was asked
	lost   bool // since it was last connected
}

// notice tells what a connection's change means, once. With first it is no change.
func (m *Model) notice(old, c api.Connection, first bool) {
	name := c.Profile
	t := m.s.told[name]
	was, is := old.State, c.State
	recent := m.recent(name)
	watched := m.visible && recent
	asks := is == api.NeedsLogin && !asksAnother(c) || c.Login != nil
	if q := m.s.questions[name]; q != nil && (q.looking || q.busy) {
		asks = false // the keychain may answer, or somebody has
	}
	switch {
	case first:
		t.signIn, t.lost = asks, is == api.Reconnecting || is == api.Blocked
	case is == api.Connected && was != api.Connected:
		t.lost = false
		if !watched {
			m.tell(NotifyConnected, name, i18n.NoteConnected, m.sentence(c))
		}
	case was == api.Connected && is == api.Disconnecting:
		t.lost = true // wanted, here or elsewhere
	case lostTo(is, c.Problem) && (was == api.Connected || was == api.Reconnecting && is != api.Reconnecting):
		key := i18n.NoteLost
		switch is {
		case api.Disconnected:
			key = i18n.NoteLostForGood
		case api.Blocked:
			key = i18n.NoteBlocked
		}
		if !(watched && is == api.Disconnected) && (!t.lost || is != api.Reconnecting && was == api.Reconnecting) {
			m.tell(NotifyLost, name, key, m.problemText(c))
		}
		t.lost = true
	}
	if !first && asks && !t.signIn {
		switch {
		case !recent || !m.s.started[name]:
			m.tell(NotifySignIn, name, i18n.NoteSignIn, i18n.NoteSignInText.In(m.s.language()))
		case c.Login == nil || c.Login.Kind != api.LoginBrowser: // which comes up by itself
			m.raise(name)
		}
	}
	t.signIn = asks || t.signIn && (is == api.Connecting || is == api.NeedsLogin) // the questions of one sign-in are one
	m.s.told[name] = t
	if is == api.Connected {
		m.noticeCertificate(c)
	}
}

// outageTime is how long the service may be away, and what was connected after it, until the person is told: an upgrade
// takes a second or two, and the service is looked for every few.
const outageTime = 10 * time.Second

// noticeOutage tells, once, of what was up when the service went away and is not since.
func (m *Model) noticeOutage() {
	r := renderer{m.s, m.s.language(), m.cfg.Now()}
	for _, name := range slices.Sorted(maps.Keys(m.s.cut)) {
		p, ok := m.s.profile(name)
		c, t := m.s.connection(p), m.s.told[name]
		switch {
		case !ok:
		case !r.reachable():
			m.tell(NotifyLost, name, i18n.NoteAway, r.t(i18n.NoteAwayText, "reason", r.noService()))
		case c.State == api.Disconnected && (c.Problem == nil || !t.lost):
			m.tell(NotifyLost, name, i18n.NoteLostForGood, m.problemText(c))
			t.lost = true
			m.s.told[name] = t
		}
	}
	clear(m.s.cut)
	if !r.reachable() { // what comes after that is news
		old := m.s.mine()
		m.s.status.Connections = nil
		m.settle(old, false)
	}
}

// recent says whether the person has just connected or disconnected a profile.
func (m *Model) recent(profile string) bool { return m.cfg.Now().Sub(m.s.acted[profile]) < amoment }

// raise opens the window, which is hidden, where what the person has just begun in the tray cannot go on without them.
func (m *Model) raise(profile string) {
	if !m.visible && m.recent(profile) {
		m.cfg.Raise()
	}
}

func lostTo(s api.State, p *api.Problem) bool {
	return s == api.Reconnecting || s == api.Blocked || s == api.Disconnected && p != nil
}

// noticeCertificate tells once that a certificate ends soon, even if the app is started anew.
func (m *Model) noticeCertificate(c api.Connection) {
	p, _ := m.s.profile(c.Profile)
	expires := cmp.Or(c.CertificateExpires, p.Expires)
	if expires == nil || expires.Sub(m.cfg.Now()) >= profile.ExpiresSoon || m.s.prefs.CertificatesTold[c.Profile].Equal(*expires) {
		return
	}
	key := i18n.NoteCertificate
	if !expires.After(m.cfg.Now()) {
		key = i18n.NoteCertificateEnd
	}
	r := renderer{m.s, m.s.language(), m.cfg.Now()}
	m.tell(NotifyCertificate, c.Profile, key, r.certificate(expires)[0])
	m.change(func(p *preferences) {
		p.CertificatesTold[c.Profile] = *expires
		for name := range p.CertificatesTold { // those of profiles that are gone
			if _, ok := m.s.profile(name); !ok {
				delete(p.CertificatesTold, name)
			}
		}
	})
}

func (m *Model) sentence(c api.Connection) string {
	return renderer{m.s, m.s.language(), m.cfg.Now()}.sentence(c)
}

func (m *Model) problemText(c api.Connection) string {
	if c.Problem == nil {
		return m.sentence(c)
	}
	return renderer{m.s, m.s.language(), m.cfg.Now()}.notice(c.Problem).Text
}

// tell tells, unless the person wants no notifications.
func (m *Model) tell(kind NotificationKind, name string, title i18n.Key, text string) {
	if !m.s.prefs.Notifications {
		return
	}
	m.cfg.Notify(Notification{Kind: kind, Profile: name, Title: title.In(m.s.language(), "profile", clean(name, maxTitle)), Text: text, Time: m.cfg.Now()})
}
