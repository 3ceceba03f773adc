// Package push turns the options that an OpenVPN server pushes into one typed
// value and back. It is the only reader and writer of that grammar: the client
// parses PUSH_REPLY with it, the endpoint appends its replies with it, and the
// profile package uses it for the same options written in a file. It never acts
// on an option; unknown ones are kept by name.
package push

import (
	"net/netip"
	"time"
)

// Reply is everything a server may tell a client. Parse(nil, nil) is an empty
// reply; the zero value differs from it in PeerID only. It is a plain value:
// copies share slices, which nobody may modify.
type Reply struct {
	Topology     string       `json:"topology,omitempty"` // "subnet", "net30" or "p2p"; empty when not pushed
	Address      netip.Prefix `json:"address"`            // ifconfig: own address; bits from the mask (32 when net30/p2p)
	Peer         netip.Addr   `json:"peer"`               // ifconfig second argument in net30 and p2p
	Address6     netip.Prefix `json:"address6"`           // ifconfig-ipv6
	Peer6        netip.Addr   `json:"peer6"`              // ifconfig-ipv6 second argument
	RouteGateway netip.Addr   `json:"route_gateway"`
	RouteMetric  int          `json:"route_metric,omitempty"` // default metric; 0 = unset
	Routes       []Route      `json:"routes,omitempty"`       // route and route-ipv6, in order

	Redirect   *Redirect `json:"redirect,omitempty"` // redirect-gateway or redirect-private
	BlockIPv6  bool      `json:"block_ipv6,omitempty"`
	BlockDNS   bool      `json:"block_outside_dns,omitempty"`
	RegisterDN bool      `json:"register_dns,omitempty"`

	ClientNAT []NAT `json:"client_nat,omitempty"`

	DNS DNS `json:"dns"`

	Ping           time.Duration `json:"ping,omitempty"`
	PingRestart    time.Duration `json:"ping_restart,omitempty"`
	PingNever      bool          `json:"ping_never,omitempty"` // ping-restart 0: silence is no reason to connect anew
	PingExit       time.Duration `json:"ping_exit,omitempty"`
	Inactive       time.Duration `json:"inactive,omitempty"`
	InactiveBytes  int64         `json:"inactive_bytes,omitempty"` // fewer inside during Inactive end the connection
	SessionTimeout time.Duration `json:"session_timeout,omitempty"`

	PeerID     int      `json:"peer_id"` // 24-bit id; -1 when not pushed
	Cipher     string   `json:"cipher,omitempty"`
	TLSExport  bool     `json:"tls_export,omitempty"`     // key-derivation tls-ekm or protocol-flags tls-ekm
	Flags      []string `json:"protocol_flags,omitempty"` // protocol-flags words, as pushed
	AuthToken  Secret   `json:"auth_token,omitempty"`
	TokenUser  string   `json:"auth_token_user,omitempty"` // decoded from base64
	TunMTU     int      `json:"tun_mtu,omitempty"`
	ExitNotify int      `json:"exit_notify,omitempty"` // explicit-exit-notify N; 0 = not pushed
	Echo       []string `json:"echo,omitempty"`        // texts of echo options, but for the next one; see Message
	// EnforceRoutes asks that the tunnel's routes win over all others of the machine (AWS's client route enforcement).
	EnforceRoutes bool `json:"enforce_routes,omitempty"`

	SndBuf   int    `json:"sndbuf,omitempty"`
	RcvBuf   int    `json:"rcvbuf,omitempty"`
	Compress string `json:"compress,omitempty"` // "", "stub", "stub-v2", "lzo-no", or the algorithm's name

	// Unknown holds options that we do not act on, verbatim and in order.
	Unknown []string `json:"unknown,omitempty"`
	// Notes says in plain words why an option was dropped or weakened.
	Notes []string `json:"notes,omitempty"`
}

// Route is one pushed or configured route. Exactly one of Destination and Word
// is set; Word is a name that only the client can resolve: "vpn_gateway",
// "net_gateway", "remote_host", or (client files with allow-pull-fqdn) a host.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Word        string       `json:"word,omitempty"`
	Bits        int          `json:"bits,omitempty"` // mask length beside Word
	// Gateway is where it goes: the zero Addr means the tunnel's gateway.
	Gateway netip.Addr `json:"gateway"`
	// GatewayWord is "", "vpn_gateway" or "net_gateway" (the underlay's gateway).
	GatewayWord string `json:"gateway_word,omitempty"`
	Metric      int    `json:"metric,omitempty"` // 0 = unset
}

// Host is the host name that Word is: whoever routes has to look it up. Empty: it is none.
func (r Route) Host() string {
	switch r.Word {
	case "vpn_gateway", "net_gateway", "remote_host":
		return ""
	}
	return r.Word
}

// NAT is one client-nat: addresses of packets in the tunnel are exchanged one to
// one between Network and the network of the same size at Alias (openvpn's clinat.c).
type NAT struct {
	Kind    string       `json:"kind"` // "snat": source on the way out; "dnat": destination on the way out
	Network netip.Prefix `json:"network"`
	Alias   netip.Addr   `json:"alias"`
}

// Redirect is redirect-gateway (or redirect-private, with Private set) and its flags.
type Redirect struct {
	Private    bool `json:"private,omitempty"`
	Def1       bool `json:"def1,omitempty"`
	Local      bool `json:"local,omitempty"`
	AutoLocal  bool `json:"autolocal,omitempty"`
	BypassDHCP bool `json:"bypass_dhcp,omitempty"`
	BypassDNS  bool `json:"bypass_dns,omitempty"`
	BlockLocal bool `json:"block_local,omitempty"`
	IPv6       bool `json:"ipv6,omitempty"`
	NoIPv4     bool `json:"no_ipv4,omitempty"` // !ipv4
}

// DNS is what dhcp-option and dns ask for, merged: dns options win where both exist.
type DNS struct {
	// Servers of the group that applies (the lowest dns server id), with port (53 by default).
	Servers []netip.AddrPort `json:"servers,omitempty"`
	// Search holds search domains (DOMAIN first, then DOMAIN-SEARCH and search-domains).
	Search []string `json:"search,omitempty"`
	// Split holds the domains that alone go to Servers; empty = all names do.
	Split     []string `json:"split,omitempty"`
	DNSSEC    string   `json:"dnssec,omitempty"`    // "", "yes", "optional", "no"
	Transport string   `json:"transport,omitempty"` // "", "plain", "DoT", "DoH"
	SNI       string   `json:"sni,omitempty"`
}

// Secret is text that must not reach logs, argv, status or crash output.
// Its String, GoString, MarshalText and format verbs print "[redacted]".
type Secret string
