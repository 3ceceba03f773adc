// Package ovpn is the OpenVPN protocol, both roles in one type: Session is the
// control channel of one peer, Data the packet crypto that its keys feed. It
// opens no socket, reads no file, starts no goroutine that outlives a call, and
// knows no clock: the caller passes now. Package drive runs a Session with a real clock.
//
// Not here: .ovpn files (ovpn/profile), routes, devices, authentication
// back-ends.
package ovpn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wire"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Role is the side of the TLS handshake that a Session plays.
type Role uint8

// The two roles.
const (
	Client Role = iota
	Server
)

// Encoding is the layout of the key-method-2 message.
type Encoding uint8

// The two layouts in the field. A server detects; a client chooses.
const (
	Stock Encoding = iota // uint16 lengths, zeros in front (OpenVPN)
	AWS32                 // uint32 lengths, total length in front (AWS's patched builds)
)

// Config is one side of one session. The Session keeps it; nobody may change it
// after New. Zero durations and sizes mean the default named in the comment.
type Config struct {
	Role Role
	// TLS carries certificates and verification; it is cloned, and Time is replaced by the
	// session's clock. A client must set VerifyConnection or RootCAs itself.
	TLS *tls.Config
	// Wrap protects the control channel; nil means none.
	Wrap wrap.Method
	// KeyAge is how old a client's tls-crypt-v2 key may be (server; to the second);
	// 0 means any age. Keys that do not say when they were made are refused then.
	KeyAge time.Duration
	// Stream says that the transport is a byte stream (TCP), where nothing is lost.
	Stream bool
	// Ciphers are the acceptable data channel ciphers in order of preference (data-ciphers).
	Ciphers []string // default DefaultCiphers
	// Fallback is the cipher for a peer that cannot negotiate (data-ciphers-fallback); "" = refuse such a peer.
	Fallback string
	// Auth is the digest beside ciphers that do not authenticate by themselves (auth).
	Auth string // default "SHA1"
	// Compress is the compression framing until a push says otherwise: "", "lzo-no", "lzo", "stub",
	// "stub-v2", "lz4", "lz4-v2", and for a server "migrate": none, or what an old client needs.
	Compress string
	// Fragment is the largest datagram body in bytes (fragment); 0 = off. Both ends must agree. Not with Stream.
	Fragment int
	// PRF forbids the TLS exporter for data keys.
	PRF bool
	// PointToPoint means two equal peers: both work out the same format, nothing is pushed.
	PointToPoint bool
	// Own are our own addresses between equal peers, for the options string only: the Session sets none.
	Own push.Reply
	// Classic forbids what openvpn 2.6 does not know: epoch keys, asymmetric peer ids; and dynamic tls-crypt.
	Classic bool

	Encoding Encoding    // client
	Username string      // client; sent only when not empty or Password is set
	Password push.Secret // client
	PeerInfo []string    // client: extra "NAME=value" lines
	SSO      []string    // client: sign-in methods that the owner can do (IV_SSO): "webauth", "openurl", "crtext"
	Filter   push.Filter // client: pull-filter rules for what the server pushes

	// Hello is the outcome of the stateless handshake (Gate) on UDP. Nil on TCP and for clients.
	Hello  *Hello
	PeerID uint32 // server: the 24-bit id that this client gets
	// KeyMessage is how long the peer's first message inside TLS may be, which has its user name and password, in bytes;
	// default 512 KiB. Whoever finishes the handshake can have that much kept.
	KeyMessage int

	MTU          int           // tun-mtu for OCC and IV_MTU; default 1500
	PacketSize   int           // largest control packet, bytes with IPv6 and UDP headers (max-packet-size); 154 to 2048, default 1250
	ReplayWindow int           // packets; default 64; less than 0: no packet may be missing or late
	ReplayTime   time.Duration // a packet may be this late; default 15 s, at most 600 s; less than 0: any time
	Renegotiate  time.Duration // start a new key after this long; 0 = never ourselves
	// RenegotiateMin makes that a random time between the two (the second value of reneg-sec);
	// 0 = 90 % of Renegotiate on a server, exactly Renegotiate on a client.
	RenegotiateMin time.Duration
	// RenegotiateBytes and RenegotiatePackets start a new key after this much inner traffic in both
	// directions, looked at once a second; 0 = no limit.
	RenegotiateBytes, RenegotiatePackets int64
	HandWindow                           time.Duration // longest handshake; default 60 s
	TranWindow                           time.Duration // old key stays valid for receiving; default 3600 s
	TLSTimeout                           time.Duration // first retransmission; default 2 s
	Ping                                 time.Duration // keepalive; a client's is replaced by the pushed one; 0 = none
	PingRestart                          time.Duration // peer silent for this long ends the session; 0 = never
	ExitNotify                           bool          // tell the peer on Close; a server may push it, too
}

// Hello is what the stateless handshake fixes: both session ids. Server is zero
// when the client's reset itself begins the session, because it cannot go on
// without state.
type Hello struct {
	Client, Server wire.SessionID
}

// DefaultCiphers is the order that both ends offer by default.
func DefaultCiphers() []string {
	return []string{"AES-256-GCM", "AES-128-GCM", "CHACHA20-POLY1305"}
}

// check refuses what cannot work.
func (c *Config) check() error {
	if c.TLS == nil {
		return errors.New("ovpn: no TLS configuration")
	}
	if len(c.Ciphers) == 0 {
		c.Ciphers = DefaultCiphers()
	}
	for _, name := range c.Ciphers {
		if _, ok := LookupCipher(name); !ok {
			return fmt.Errorf("ovpn: unknown cipher %q", name)
		}
	}
	if _, ok := LookupCipher(c.Fallback); c.Fallback != "" && !ok {
		return fmt.Errorf("ovpn: unknown fallback cipher %q", c.Fallback)
	}
	if _, size, ok := LookupDigest(c.Auth); c.Auth != "" && (!ok || size == 0) {
		return fmt.Errorf("ovpn: digest %q cannot authenticate packets", c.Auth)
	}
	for _, word := range c.SSO {
		if word == "" || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' || r == '=' }) {
			return fmt.Errorf("ovpn: %q is no sign-in method", word)
		}
	}
	switch c.Compress {
	case "", "lzo-no", "lzo", "stub", "stub-v2", "lz4", "lz4-v2":
	case "migrate":
		if c.Role == Client || c.PointToPoint {
			return errors.New("ovpn: only a server can migrate compression")
		}
	default:
		return fmt.Errorf("ovpn: unknown compression framing %q", c.Compress)
	}
	if c.Fragment != 0 && (c.Fragment < 68 || c.Fragment > 65535) {
		return fmt.Errorf("ovpn: fragment size %d is not from 68 to 65535", c.Fragment)
	}
	if c.Fragment != 0 && c.Stream {
		return errors.New("ovpn: a stream has no fragments")
	}
	return nil
}
