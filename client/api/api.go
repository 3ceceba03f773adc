// Package api is the local API between the service (aditd) and its user
// interfaces: the types, one client and one server. HTTP with JSON bodies over a unix socket or a
// named pipe; the caller's identity comes from the operating system.
package api

import (
	"encoding/json"
	"net/netip"
	"time"
)

// State is where a connection is in its life.
type State string

// The states of a connection.
const (
	Disconnected  State = "disconnected"
	Connecting    State = "connecting"
	NeedsLogin    State = "needs_login"
	Connected     State = "connected"
	Reconnecting  State = "reconnecting"
	Disconnecting State = "disconnecting"
	Blocked       State = "blocked" // guard on and no attempt running
)

// Status is the whole truth for a screen. Sequence grows with every change.
type Status struct {
	Sequence    uint64       `json:"sequence"`
	Connections []Connection `json:"connections"`
	Policy      *Policy      `json:"policy,omitempty"` // nil: nothing is managed
}

// Named are the connections that the service shows with their profile's name: the caller's own, and those of managed profiles.
// To root the service shows all, unless it asks AsUser. Owner is no help there: the service may know an account by a number
// that the caller has a name for.
func (s Status) Named() []Connection {
	var out []Connection
	for _, c := range s.Connections {
		if c.Profile != "" {
			out = append(out, c)
		}
	}
	return out
}

// Policy is what the administrator of the machine decides, as far as everybody may know.
type Policy struct {
	Source   string      `json:"source"`    // the policy's file; empty: there are managed profiles only
	Keys     []PolicyKey `json:"keys"`      // that it sets; the others have their defaults
	Profiles []string    `json:"profiles"`  // names of the managed ones
	Problems []string    `json:"problems"`  // what cannot be read, or has no effect, in words
	Broken   bool        `json:"broken"`    // it cannot be read: nothing may connect
	AlwaysOn string      `json:"always_on"` // the profile that nobody disconnects; empty: there is none
	// TrustedNetwork is the URL of the TrustedNetworks entry that this machine is proven to be in: nothing connects by
	// itself. Empty: in none.
	TrustedNetwork string `json:"trusted_network,omitempty"`
}

// PolicyKey is a key of the policy's schema and its value in JSON.
type PolicyKey struct {
	Name  string          `json:"name"`
	Value json.RawMessage `json:"value"`
}

// Text is a key's value where that is a string; empty when it is not set.
func (p *Policy) Text(name string) string { return valueOf[string](p, name) }

// Is says whether a key is set to a truth value.
func (p *Policy) Is(name string, value bool) bool {
	got := valueOf[*bool](p, name)
	return got != nil && *got == value
}

func valueOf[T any](p *Policy, name string) (v T) {
	if p == nil {
		return v
	}
	for _, k := range p.Keys {
		if k.Name == name && json.Unmarshal(k.Value, &v) != nil {
			var zero T // of a version with another schema
			return zero
		}
	}
	return v
}

// Connection is one tunnel, from the wish to its end.
type Connection struct {
	Profile            string     `json:"profile"`
	Owner              string     `json:"owner"` // user name; "" for managed profiles
	Managed            bool       `json:"managed"`
	Hidden             bool       `json:"hidden"` // another person's: what is empty may only not be told
	State              State      `json:"state"`
	Since              time.Time  `json:"since"` // when State was entered
	Server             Server     `json:"server"`
	Tunnel             Tunnel     `json:"tunnel"`
	Protection         Protection `json:"protection"` // while State is connected
	FullTunnel         bool       `json:"full_tunnel"`
	Routes             []Route    `json:"routes"`
	DNS                DNS        `json:"dns"`
	Counters           Counters   `json:"counters"`
	Guard              string     `json:"guard"`        // off, auto, lockdown
	GuardClosed        bool       `json:"guard_closed"` // something may leave by the tunnel only, now
	Login              *Login     `json:"login"`
	Banner             string     `json:"banner"`
	SavePassword       bool       `json:"save_password"`            // a program of the person may keep the password, and give one that it kept
	SaveForbidden      string     `json:"save_forbidden,omitempty"` // who forbids that: "profile", or "server", once it has said so
	SessionEnds        *time.Time `json:"session_ends"`
	CertificateExpires *time.Time `json:"certificate_expires"`
	Problem            *Problem   `json:"problem"`
}

// Server is the endpoint that a connection uses or tries.
type Server struct {
	Name      string `json:"name"`            // as in the profile
	Address   string `json:"address"`         // resolved IP: the proxy's if there is one
	Port      int    `json:"port"`            //
	Transport string `json:"transport"`       // "udp" or "tcp"
	Proxy     string `json:"proxy,omitempty"` // "http://host:port" or "socks5://host:port"
}

// Tunnel is the device inside.
type Tunnel struct {
	Device    string         `json:"device"`
	Addresses []netip.Prefix `json:"addresses"`
	MTU       int            `json:"mtu"`
	// PathMTU is the largest packet outside in bytes that was found to arrive; 0 = not found out.
	PathMTU int `json:"path_mtu,omitempty"`
}

// Protection says how the tunnel is protected, in words that people know from their profiles.
type Protection struct {
	TLS     string `json:"tls"`     // "TLS 1.3"
	Control string `json:"control"` // "plain", "tls-auth", "tls-crypt" or "tls-crypt-v2", and ", dynamic tls-crypt"
	Data    string `json:"data"`    // the cipher, and what is not usual: "AES-256-GCM epoch keys"
}

// Route is one route that the tunnel installed.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Via         string       `json:"via"` // device, or gateway and device for ways around
	Reason      string       `json:"reason"`
}

// DNS is what the tunnel told the resolver.
type DNS struct {
	Servers []string `json:"servers"`
	Search  []string `json:"search"`
	Split   []string `json:"split"`
	// Manager is the program or file that carries it out: "systemd-resolved"; "" = there is no DNS, or it is not known.
	Manager string `json:"manager,omitempty"`
	// Waits is the profile whose servers are asked in place of these, which wait until it has ended ("another user's
	// tunnel" of one that is none of the caller's business); "" = they are asked.
	Waits string `json:"waits,omitempty"`
}

// Counters count inner packets and their bytes, seen from this machine, and what passed outside for them.
type Counters struct {
	RxBytes   uint64 `json:"rx_bytes"`
	TxBytes   uint64 `json:"tx_bytes"`
	RxPackets uint64 `json:"rx_packets"`
	TxPackets uint64 `json:"tx_packets"`
	// WireRxBytes and WireTxBytes are of all that was exchanged with the server (or the proxy before it), control packets and
	// keepalives too: the payload of UDP, or of the TCP connection, without the headers below.
	WireRxBytes uint64 `json:"wire_rx_bytes"`
	WireTxBytes uint64 `json:"wire_tx_bytes"`
}

// LoginKind is what a person is asked for.
type LoginKind string

// The kinds of questions.
const (
	LoginPassword LoginKind = "password" // a password, and what NeedUser and Challenge add
	LoginOTP      LoginKind = "otp"      // an answer to Prompt
	LoginBrowser  LoginKind = "browser"  // URL is to be opened
	LoginWait     LoginKind = "wait"     // nothing: the sign-in goes on elsewhere, as Prompt may say
	LoginAgain    LoginKind = "again"    // whether anybody is there: an empty answer begins the sign-in once more
)

// Login is what the service needs from a person. State is then needs_login; it stays
// connected when the server asks while the tunnel is up.
type Login struct {
	ID       string    `json:"id"` // of this question: an Answer names it
	Kind     LoginKind `json:"kind"`
	Prompt   string    `json:"prompt"`
	Echo     bool      `json:"echo"`     // what is typed may be shown (otp)
	URL      string    `json:"url"`      // http or https; shown to the owner only
	Deadline time.Time `json:"deadline"` // for the answer; zero = none

	// User is the user name if it is known; with NeedUser the person may give another.
	User     string `json:"user"`
	NeedUser bool   `json:"need_user"`
	// Challenge is a second question that is asked together with the password; may be empty.
	Challenge     string `json:"challenge"`
	ChallengeEcho bool   `json:"challenge_echo"`
	// Callback is the port on 127.0.0.1 to which the browser brings the answer;
	// 0 = the server learns by itself, and nobody answers here.
	Callback int `json:"callback"`
}

// Problem is a failure in words for people. Code comes from the closed list in
// problems.go; Args are the values that the words name, for translation.
type Problem struct {
	Code    string            `json:"code"`
	Message string            `json:"message"`
	Hint    string            `json:"hint"`
	Args    map[string]string `json:"args"`
}

// Error makes a Problem usable as a Go error.
func (p *Problem) Error() string { return p.Message }
