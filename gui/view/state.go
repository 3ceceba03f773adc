package view

import (
	"maps"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/gui/i18n"
	"github.com/adit-vpn/adit/routes"
)

// undoTime is how long a removed profile can be had back.
const undoTime = 10 * time.Second

// state is all that the model knows. Run's goroutine owns it; render only reads it.
type state struct {
	locales []string // for the language "auto"
	version api.Version
	demo    bool   // there is a bundled server to try
	bundled string // the profile that is for it; empty: there is none
	starter bool   // the app can be started with the desktop session
	reports bool   // a report can be made

	policy Policy
	prefs  preferences
	// startAtLogin is what the system says; nil: not known.
	startAtLogin *bool

	page    Page
	service ServiceState
	problem *api.Problem // why the service does not answer
	remote  *api.Version // the service's; nil: not known
	listed  bool         // profiles were read at least once
	outage  time.Time    // when what the service's absence means is told; zero: nothing is to be told

	profiles []api.Profile
	status   api.Status
	selected string
	filter   string // of the networks
	meters   map[string]*meter

	// By profile name.
	busy     map[string]ActionKind       // the newest request that is under way
	problems map[string]*api.Problem     // of the newest request, until the next
	acted    map[string]time.Time        // when the person last connected or disconnected it here
	started  map[string]bool             // the person connects it here: its questions come up by themselves
	answered map[string]bool             // the person has answered a question of this sign-in
	refused  map[string]*api.Problem     // why it began once more, for its first question
	cut      map[string]bool             // it was up when the service went away, and was not again since
	barred   map[string]string           // SaveForbidden, when it was last connected
	removals map[string]time.Time        // hidden, and removed for good at this time
	settings map[string]*profileSettings // of those that were selected

	dialog    *dialog  // that the person opened
	waiting   []string // files and addresses of profiles, to be shown when no dialog is in front
	questions map[string]*question
	banners   map[string]string // told already, by profile

	toast   *toast
	first   firstRun
	log     logView
	report  reportView
	explain explainView
	told    map[string]told // notifications, by profile
}

// profileSettings are what the service keeps for one profile.
type profileSettings struct {
	api.Settings
	changes int // under way

	typed string       // as the proxy, which is not taken:
	wrong *api.Problem // why; nil: Proxy counts
}

// toast is words that can be said in another language when that changes.
type toast struct {
	key  i18n.Key
	args []string
	undo string    // the profile to have back; empty: none
	ends time.Time //
}

// explainView is the page "Why can't I reach…".
type explainView struct {
	destination string
	busy        bool
	trying      bool // it is more than asked for the way
	answer      *routes.Explanation
	report      *reach.Report // nil: it was not tried
	problem     *api.Problem
	unresolved  string // a name without an address
	inProgram   bool   // the tunnel cannot be probed
}

// firstRun is what the page for beginners is doing.
type firstRun struct {
	busy   bool
	detail string // why the bundled server did not start
}

func newState() *state {
	return &state{
		page: PageProfiles, service: ServiceStarting, prefs: defaultPreferences(),
		meters: map[string]*meter{}, busy: map[string]ActionKind{}, problems: map[string]*api.Problem{},
		acted: map[string]time.Time{}, started: map[string]bool{}, answered: map[string]bool{}, refused: map[string]*api.Problem{}, cut: map[string]bool{}, barred: map[string]string{}, removals: map[string]time.Time{},
		settings: map[string]*profileSettings{}, questions: map[string]*question{},
		banners: map[string]string{}, told: map[string]told{},
	}
}

// language is the one to show: the policy's, the person's, or the system's.
func (s *state) language() i18n.Language {
	setting := s.prefs.Language
	if s.policy.Language != "" {
		setting = s.policy.Language
	}
	return i18n.Choose(setting, s.locales...)
}

func (s *state) reachable() bool { return s.service == ServiceReachable }

// profile finds a stored profile that is not about to be removed.
func (s *state) profile(name string) (api.Profile, bool) {
	for _, p := range s.profiles {
		if _, gone := s.removals[p.Name]; p.Name == name && !gone {
			return p, true
		}
	}
	return api.Profile{}, false
}

// visible are the profiles that are shown, in the service's order.
func (s *state) visible() []api.Profile {
	return slices.DeleteFunc(slices.Clone(s.profiles), func(p api.Profile) bool {
		_, gone := s.removals[p.Name]
		return gone
	})
}

// connection is a profile's tunnel, or one that is disconnected. Root sees tunnels of others under the same
// name, which are not this one's.
func (s *state) connection(p api.Profile) api.Connection {
	for _, c := range s.status.Connections {
		if c.Profile == p.Name && (c.Managed == p.Managed && (c.Owner == p.Owner || p.Managed)) {
			return c
		}
	}
	return none(p)
}

// inUse says whether a profile with that tunnel can be neither renamed nor removed. What is blocked because the policy blocks everything can.
func (s *state) inUse(c api.Connection) bool {
	return c.State != api.Disconnected && !(c.State == api.Blocked && s.policy.Guard == "lockdown")
}

// none is a tunnel that is not there.
func none(p api.Profile) api.Connection {
	return api.Connection{Profile: p.Name, Owner: p.Owner, Managed: p.Managed, State: api.Disconnected}
}

// mine are the tunnels that belong to profiles in the list.
func (s *state) mine() map[string]api.Connection {
	out := make(map[string]api.Connection, len(s.status.Connections))
	for _, p := range s.profiles {
		if c := s.connection(p); c.State != api.Disconnected || c.Problem != nil {
			out[p.Name] = c
		}
	}
	return out
}

// choose keeps a profile selected that is in the list: the one that was, else one that is up, else the first.
func (s *state) choose() {
	if _, ok := s.profile(s.selected); ok {
		return
	}
	s.selected, s.filter = "", ""
	for _, p := range s.visible() {
		if s.selected == "" || s.connection(p).State != api.Disconnected {
			s.selected = p.Name
			if s.connection(p).State != api.Disconnected {
				return
			}
		}
	}
}

// forget drops what is kept by name for profiles that are gone.
func (s *state) forget() {
	here := map[string]bool{}
	for _, p := range s.profiles {
		here[p.Name] = true
	}
	gone := func(name string) bool { return !here[name] }
	maps.DeleteFunc(s.problems, func(n string, _ *api.Problem) bool { return gone(n) })
	maps.DeleteFunc(s.settings, func(n string, _ *profileSettings) bool { return gone(n) })
	maps.DeleteFunc(s.meters, func(n string, _ *meter) bool { return gone(n) })
	maps.DeleteFunc(s.acted, func(n string, _ time.Time) bool { return gone(n) })
	maps.DeleteFunc(s.refused, func(n string, _ *api.Problem) bool { return gone(n) })
	for _, set := range []map[string]bool{s.started, s.answered, s.cut} {
		maps.DeleteFunc(set, func(n string, _ bool) bool { return gone(n) })
	}
	maps.DeleteFunc(s.banners, func(n, _ string) bool { return gone(n) })
	maps.DeleteFunc(s.barred, func(n, _ string) bool { return gone(n) })
	maps.DeleteFunc(s.removals, func(n string, _ time.Time) bool { return gone(n) })
	maps.DeleteFunc(s.told, func(n string, _ told) bool { return gone(n) })
}
