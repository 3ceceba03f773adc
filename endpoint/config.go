package endpoint

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/ovpn"
)

// Config is one endpoint: the file's content with defaults filled in. It is a
// plain value that nobody changes after LoadConfig or ParseConfig made it. File
// names in it are as written; Resolve makes them relative to the file.
type Config struct {
	File string // where it came from; empty for the built-in one

	Data              string           // directory of PKI, state and control.sock
	Listen            []netip.AddrPort // at least one, but with API
	Remote            Remote
	Network           string // "userspace" or "kernel"
	Transport         string // "udp" or "tcp"
	ClientCIDR        netip.Prefix
	ClientCIDR6       netip.Prefix // invalid: no IPv6 inside
	SplitTunnel       bool
	DNSServers        []netip.Addr
	TunMTU            int
	Topology          string // "subnet", "net30" or "p2p"
	Mssfix            int    // outer bytes that TCP inside is fitted to; 0 = off
	TLSVersionMin     uint16 // as in crypto/tls
	Legacy            Legacy
	AuthToken         AuthToken
	Floating          bool             // follow a client that changes its outer address
	PushUpdate        bool             // a reload updates clients in place where they can; else it resets them, as AWS does
	ConnectFreq       Freq             // of new sessions, for each source
	ServerCertificate CertificateFiles // empty: from the PKI in Data
	ControlWrap       ControlWrap
	Ciphers           []string
	PRF               bool             // key_derivation: prf
	Authentication    []Authentication // one, or mutual and another one
	SessionTimeout    time.Duration    // since the sign-in; 8, 10, 12 or 24 h
	// DisconnectOnTimeout makes clients stay away then; else they come back by themselves.
	DisconnectOnTimeout bool
	Networks            []VPC
	Associations        []Association
	Routes              []Route
	Rules               []Rule
	ConnectionLog       ConnectionLog
	Handler             Handler
	AuthorizationPolicy AuthorizationPolicy
	// DevicePosture are the device trust providers that exported profiles name, for AWS's client.
	DevicePosture []TrustProvider
	Banner        string // shown by clients at each new session; lines divided by \n; empty: none
	// RouteEnforcement has clients see to it that the tunnel's routes win over all others of their machine.
	RouteEnforcement bool
	Metrics          netip.AddrPort // that answers Prometheus; invalid: none
	// API is the EC2 API of the process; nil: none. With one, Listen and ClientCIDR may be missing: then the file
	// declares no endpoint of its own.
	API *API
}

// Handler is the client connect handler. The zero value: none. At most one of Exec and URL is set.
type Handler struct {
	Exec   string // a program
	URL    string // http or https
	Schema string // of handler.Schemas
}

// AuthorizationPolicy is a Cedar policy that decides on each connection. The zero value: none. At most one of File and Text is set.
type AuthorizationPolicy struct {
	File, Text string
	Shadow     bool          // it is evaluated and logged, and denies nobody
	Every      time.Duration // how often sessions are judged again
}

func (a AuthorizationPolicy) there() bool { return a.File != "" || a.Text != "" }

// TrustProvider is a vendor that vouches for devices.
type TrustProvider struct {
	Type   string // of TrustProviders
	Tenant string
	KeyURL string // where its public key is; empty with jamf
}

// TrustProviders are the types that AWS knows ("DevicePostureOptions").
func TrustProviders() []string { return []string{"crowdstrike", "jamf", "jumpcloud"} }

// ConnectionLog is where the connection log goes. The zero value: nowhere. At most one of File, Stdout and CloudWatch is set.
type ConnectionLog struct {
	File       string
	Stdout     bool
	CloudWatch CloudWatch
	MaxMB      int // of File, MiB: then it becomes File.1, and a new one begins
	Keep       int // how many old ones stay
	// PolicyContext adds to each entry what the authorization policy was shown.
	PolicyContext bool
}

// CloudWatch is a place in CloudWatch Logs. The zero value: none.
type CloudWatch struct {
	Group, Stream string // Stream empty: one that is called as the endpoint
	Region        string // empty: what AWS's tools have in the environment
	URL           string // of the API; empty: AWS's
}

// Remote is what exported profiles say. The zero value means the listener.
type Remote struct {
	Host string
	Port uint16
}

// CertificateFiles names a certificate and its key, PEM. Chain has the CAs that signed it, for exported profiles, where they are
// not in Cert.
type CertificateFiles struct{ Cert, Key, Chain string }

// ControlWrap is the protection of the control channel.
type ControlWrap struct {
	Type string // "none", "tls-auth", "tls-crypt" or "tls-crypt-v2"
	Key  string // file; empty with tls-crypt-v2: the PKI's
	// The rest is for tls-crypt-v2 only.
	Also        WrapKey // for clients without a key of their own; the zero value refuses them
	MaxAgeDays  int     // of a client's key; 0: any
	ForceCookie bool    // refuse clients that make the endpoint keep state (OpenVPN 2.5)
}

// WrapKey is a key that all clients share.
type WrapKey struct {
	Type string // "tls-auth" or "tls-crypt"
	Key  string // file
}

// VPC is a network with its subnets.
type VPC struct {
	ID      string
	CIDR    netip.Prefix
	CIDR6   netip.Prefix // invalid: none
	Subnets []Subnet
	// SecurityGroups are those that associations may carry.
	SecurityGroups []SecurityGroup
	// Transit: it is a transit gateway, to which no route leads by itself.
	Transit bool
}

// ranges are what an association with it leads to by itself.
func (v *VPC) ranges() []netip.Prefix {
	switch {
	case v.Transit:
		return nil
	case v.CIDR6.IsValid():
		return []netip.Prefix{v.CIDR, v.CIDR6}
	}
	return []netip.Prefix{v.CIDR}
}

// Subnet is one part of a VPC that can be associated.
type Subnet struct {
	ID        string
	CIDR      netip.Prefix
	Zone      string
	Address   netip.Addr   // what the network sees as source; invalid: the system chooses
	CIDR6     netip.Prefix // beside an IPv4 CIDR; invalid: none
	Address6  netip.Addr   // as Address, for IPv6
	Plain4    bool         // the network sees the clients' own IPv4 addresses: transit gateways only
	Plain6    bool         // in place of Address6: the network sees the clients' own IPv6 addresses, as on AWS
	Interface string       // empty: the system's routes decide
	Gateway   netip.Addr   // beside the Interface, in CIDR: what leads beyond the subnet; invalid: the system's routes decide
	Gateway6  netip.Addr   // as Gateway, in CIDR6
}

// ranges are the subnet's own.
func (s *Subnet) ranges() []netip.Prefix {
	if s.CIDR6.IsValid() {
		return []netip.Prefix{s.CIDR, s.CIDR6}
	}
	return []netip.Prefix{s.CIDR}
}

// gateways are those of ranges.
func (s *Subnet) gateways() (out []netip.Addr) {
	for _, a := range []netip.Addr{s.Gateway, s.Gateway6} {
		if a.IsValid() {
			out = append(out, a)
		}
	}
	return out
}

// Association makes a subnet a target network.
type Association struct {
	Subnet string
	// SecurityGroups are ids of its VPC; none is AWS's default group, which lets everything out.
	SecurityGroups []string
}

// Route leads a destination into an associated subnet, or to other clients.
type Route struct {
	Destination netip.Prefix
	Target      string // subnet id, or LocalTarget: then Destination is inside the client range
}

// LocalTarget is the target of routes from client to client, as AWS writes it.
const LocalTarget = "local"

// Rule lets clients reach a range: everyone, or those in a group. Exactly one of All and Group is set.
type Rule struct {
	CIDR  netip.Prefix
	All   bool
	Group string // security identifier of the directory, or a value of memberOf
}

// The limits of AWS's service and of this one.
const (
	minClientBits = 12
	maxClientBits = 22
	sliceBits     = 27
	maxRules      = 200
	maxRoutes     = 100 // per target
	maxDNSServers = 2
	maxConfigSize = 1 << 20
	maxKeyDays    = 36500
	maxGroupID    = 255  // bytes
	maxBanner     = 1400 // characters
)

// NamedCiphers are the ciphers for exported profiles: none when the list is what every OpenVPN from 2.5 on
// offers by itself. 2.4 does not know the directive, and takes no profile that has it.
func (c *Config) NamedCiphers() []string {
	if slices.Equal(c.Ciphers, ovpn.DefaultCiphers()) {
		return nil
	}
	return c.Ciphers
}

// DefaultListen is where an endpoint without configuration listens.
func DefaultListen() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 1194)
}

// DefaultData is the data directory of an endpoint without configuration.
const DefaultData = "adit-endpoint-data"

// ConfigError is one mistake in a configuration file.
type ConfigError struct {
	File  string
	Line  int // 0: the file as a whole
	Field string
	Text  string
}

func (e *ConfigError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Field != "" {
		b.WriteString(": " + e.Field)
	}
	return b.String() + ": " + e.Text
}

// ConfigErrors are all mistakes of one file in the order of their lines. Error
// prints the first one.
type ConfigErrors []*ConfigError

func (e ConfigErrors) Error() string {
	if len(e) == 1 {
		return e[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", e[0].Error(), len(e)-1)
}

// Unwrap gives the single errors to errors.As.
func (e ConfigErrors) Unwrap() []error {
	out := make([]error, len(e))
	for i := range e {
		out[i] = e[i]
	}
	return out
}

// LoadConfig reads and checks a file. A wrong content is reported as ConfigErrors.
func LoadConfig(file string) (Config, error) {
	text, err := readConfig(file)
	if err != nil {
		return Config{}, err
	}
	return ParseConfig(file, text)
}

func readConfig(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := readAtMost(f, maxConfigSize)
	if err != nil {
		return nil, &ConfigError{File: file, Text: err.Error()}
	}
	return text, nil
}

// Path resolves a file name of the configuration: relative ones are beside the
// configuration file, or in the working directory when there is none.
func (c *Config) Path(name string) string {
	if name == "" || filepath.IsAbs(name) || c.File == "" {
		return name
	}
	return filepath.Join(filepath.Dir(c.File), name)
}

// DataDir is Data, resolved.
func (c *Config) DataDir() string { return c.Path(c.Data) }

// RemoteOrListen is what exported profiles say: Remote where it is set, else
// the first listener. An unspecified listen address becomes loopback.
func (c *Config) RemoteOrListen() (host string, port uint16) {
	host, port = c.Remote.Host, c.Remote.Port
	first := c.Listen[0]
	if host == "" {
		addr := first.Addr()
		switch {
		case addr.IsUnspecified() && addr.Is4():
			addr = netip.AddrFrom4([4]byte{127, 0, 0, 1})
		case addr.IsUnspecified():
			addr = netip.IPv6Loopback()
		}
		host = addr.String()
	}
	if port == 0 {
		port = first.Port()
	}
	return host, port
}

// subnet finds a subnet by id.
func (c *Config) subnet(id string) (VPC, Subnet, bool) {
	for _, v := range c.Networks {
		for _, s := range v.Subnets {
			if s.ID == id {
				return v, s, true
			}
		}
	}
	return VPC{}, Subnet{}, false
}

// targets are the associated subnets.
func (c *Config) targets() []string {
	var out []string
	for _, a := range c.Associations {
		out = append(out, a.Subnet)
	}
	return out
}

const defaultMTU = 1500

// defaults are the values of keys that a file does not name.
func defaults() Config {
	return Config{
		Data:           DefaultData,
		Network:        "userspace",
		Transport:      "udp",
		TunMTU:         defaultMTU,
		Topology:       "subnet",
		Mssfix:         1492, // openvpn's default
		TLSVersionMin:  tls.VersionTLS12,
		Floating:       true,
		ConnectFreq:    Freq{Sessions: 6000, Seconds: 10}, // an office that comes back
		ControlWrap:    ControlWrap{Type: "none"},
		Ciphers:        ovpn.DefaultCiphers(),
		Authentication: []Authentication{{Mutual: &Mutual{}}},
		SessionTimeout: 24 * time.Hour, DisconnectOnTimeout: true, // AWS's defaults
	}
}

// BuiltinText is the file that an endpoint without configuration runs from and
// leaves in its data directory: the demo network, split tunnel, certificates unless
// others are given.
func BuiltinText(listen netip.AddrPort, transport, networkKind string, methods ...Authentication) string {
	demo := network.Demo()
	var b strings.Builder
	fmt.Fprintf(&b, `# Written by adit-endpoint up. Start from it with: adit-endpoint up --config FILE
data: .
listen: %q
network: %s
transport: %s
client_cidr: 10.64.0.0/22
client_cidr_v6: fd64::/64
split_tunnel: true
control_wrap: {type: tls-crypt-v2}
authentication:
%s# The built-in demo network exists only inside the endpoint: %s answers ping, DNS and HTTP.
networks:
  - vpc: demo
    cidr: %s
    subnets:
      - {id: %s, cidr: %s, zone: demo}
associations:
  - subnet: %s
authorization_rules:
  - {cidr: %s, all: true}
`, listen.String(), networkKind, transport, methodsText(methods), network.DemoAddress(), demo, network.DemoSubnet, demo, network.DemoSubnet, demo)
	return b.String()
}
