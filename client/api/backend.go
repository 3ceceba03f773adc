package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/routes"
)

// Caller is who asks, as the operating system says.
type Caller struct {
	Account ipc.Account
	Name    string // user name, or the account
	// Root is uid 0 (SYSTEM and administrators on Windows).
	Root bool
	// Member is in group adit (Linux) or at the console (Windows, macOS), or is root.
	Member bool
	// Person says that the account is a person's, not a program's; a member is one, too. Persons may connect managed
	// profiles.
	Person bool
}

// Backend is what the server asks the service to do. Every method is safe for
// concurrent use and checks what Caller may see; whether the caller may use the method
// at all is a column of the route table in server.go. Errors that people should read are *Problem.
type Backend interface {
	Viewer

	Import(caller Caller, req ImportRequest) (Profile, error)
	Profiles(caller Caller) ([]Profile, error)
	// Show returns the profile's text with keys redacted.
	Show(caller Caller, name string) (ProfileText, error)
	// Export returns the whole text, to its owner only.
	Export(caller Caller, name string) (ProfileText, error)
	Rename(caller Caller, name, to string) error
	Remove(caller Caller, name string) error
	Settings(caller Caller, name string) (Settings, error)
	// Set applies changes ("guard=auto", "route+=10.0.0.0/8") all or none.
	Set(caller Caller, name string, changes []string) (Settings, error)

	// Connect records the wish and returns; Status tells the rest.
	Connect(caller Caller, req ConnectRequest) error
	// Answer answers the question that one of the caller's connections asks (Connection.Login).
	Answer(caller Caller, a Answer) error
	// Disconnect ends one tunnel, or with name "" all of the caller's, and returns when it is undone.
	Disconnect(ctx context.Context, caller Caller, name string) error
	// Logs calls send for each kept line that caller may see, then, with follow, for new ones.
	Logs(ctx context.Context, caller Caller, follow bool, send func(LogLine) error) error
}

// Viewer is the part of a Backend that only looks. A tunnel in the user's own process
// (adit connect --userspace) offers no more than this.
type Viewer interface {
	// Status is the current snapshot as caller may see it.
	Status(caller Caller) Status
	// Watch calls send with the snapshot now and at every change, newest wins,
	// until ctx ends or send fails.
	Watch(ctx context.Context, caller Caller, send func(Status) error) error
	Explain(ctx context.Context, caller Caller, destination string) (routes.Explanation, error)
	Version() Version
}

// ImportRequest is one self-contained profile text: no file references.
type ImportRequest struct {
	Name    string `json:"name"`
	Text    string `json:"text"`
	Replace bool   `json:"replace"`
}

// Profile is one stored profile.
type Profile struct {
	Name     string     `json:"name"`
	Owner    string     `json:"owner"`
	Managed  bool       `json:"managed"`
	Remotes  []string   `json:"remotes"` // "host:port/transport"
	Auth     string     `json:"auth"`    // certificate, password, browser, or with "+" certificate and another
	Expires  *time.Time `json:"certificate_expires"`
	Imported time.Time  `json:"imported"`
	State    State      `json:"state"`
	// SaveForbidden is "profile" where the text says that its password may not be kept (auth-nocache).
	SaveForbidden string `json:"save_forbidden,omitempty"`
	// Notes are the lint's remarks at import ("line 7: up is ignored: …").
	Notes []string `json:"notes"`
}

// ProfileText is a profile's .ovpn text.
type ProfileText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Settings are per-profile choices (adit set).
type Settings struct {
	AutoConnect  bool           `json:"auto_connect"`
	Guard        string         `json:"guard"`
	RouteAdd     []netip.Prefix `json:"route_add"`
	RouteRemove  []netip.Prefix `json:"route_remove"`
	PullFilter   []string       `json:"pull_filter"` // "accept|ignore|reject TEXT"
	Proxy        string         `json:"proxy"`
	SavePassword bool           `json:"save_password"`
}

// ConnectRequest is the wish for a tunnel, and what the person gives for the sign-in in advance:
// what is missing will be asked for. The secrets are kept in memory only.
type ConnectRequest struct {
	Profile string        `json:"profile"`
	Timeout time.Duration `json:"timeout"` // of the first connection, without the time that a person takes to answer; 0 = keep trying

	Username string      `json:"username"`
	Password push.Secret `json:"password"`
	OTP      push.Secret `json:"otp"` // for the first question that wants a one-time code
}

// Answer answers the question with the ID (Login.ID), once.
type Answer struct {
	Profile string `json:"profile"`
	ID      string `json:"id"`

	Username string      `json:"username"` // with LoginPassword; empty: the one that is known
	Password push.Secret `json:"password"` // with LoginPassword
	// Response answers Login.Challenge or an otp question; with a browser's Callback it is what
	// the browser brought (SAML: the field SAMLResponse).
	Response push.Secret `json:"response"`
	Cancel   bool        `json:"cancel"` // the person will not sign in: the connection ends
}

// LogLine is one line of the service's log.
type LogLine struct {
	Time    time.Time `json:"time"`
	Level   string    `json:"level"`
	Profile string    `json:"profile"`
	Text    string    `json:"text"`
}

// Version is what runs.
type Version struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}
