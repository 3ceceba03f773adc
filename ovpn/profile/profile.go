// Package profile reads .ovpn files into a checked Profile, says what it makes
// of every line, verifies servers as the profile demands, and writes profiles.
//
// It opens no file itself (the caller passes Files), connects to nothing and
// starts no goroutine. Options that a server may push as well are read by
// package push; here is what only a file may say.
package profile

import (
	"crypto"
	"fmt"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Verdict is what becomes of one directive.
type Verdict uint8

// The verdicts, from harmless to final.
const (
	Used        Verdict = iota // acted on
	Ignored                    // without effect; Note says why
	Unsupported                // stored, but no connection can be made with it yet
	Refused                    // stops the import: the value is wrong or the tunnel would not be safe
)

func (v Verdict) String() string {
	switch v {
	case Used:
		return "used"
	case Ignored:
		return "ignored"
	case Unsupported:
		return "unsupported"
	}
	return "refused"
}

// MarshalText gives the verdict's word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// Files reads a file that a profile refers to by path, as written there (after
// unescaping); the caller resolves relative paths. Nil means that references
// are errors.
type Files func(path string) ([]byte, error)

// Error is one wrong line.
type Error struct {
	Profile   string // its name
	Line      int    // from 1; 0 = the whole text
	Directive string // may be empty
	Text      string
	Err       error // may be nil
}

func (e *Error) Error() string {
	s := e.Profile
	if e.Line > 0 {
		s += fmt.Sprintf(": line %d", e.Line)
	}
	if e.Directive != "" {
		s += ": " + e.Directive
	}
	return s + ": " + e.Text
}

func (e *Error) Unwrap() error { return e.Err }

// remark is what the text says.
func (e *Error) remark() *Remark { return remarkOf(e) }

// Directive is one line and what becomes of it.
type Directive struct {
	Line    int      `json:"line"`
	Words   []string `json:"words"` // without inline contents and without secrets
	Verdict Verdict  `json:"verdict"`
	Note    string   `json:"note,omitempty"`
	// Code and Args are the note's as a Remark; used lines have none.
	Code Code              `json:"code,omitempty"`
	Args map[string]string `json:"args,omitempty"`
	Does string            `json:"does,omitempty"` // in a Report: what a used one without a Note is for
}

// Remote is one server to try, with what its <connection> block overrides.
type Remote struct {
	Host  string `json:"host"` // name or IP literal
	Port  uint16 `json:"port"`
	Proto string `json:"proto"` // udp, udp4, udp6, tcp, tcp4, tcp6
	Line  int    `json:"line"`

	Timeout    time.Duration `json:"timeout,omitempty"`     // 0: ServerPollTimeout
	MTU        int           `json:"mtu,omitempty"`         // 0: Profile.MTU
	ExitNotify int           `json:"exit_notify,omitempty"` // -1: Profile.ExitNotify

	// What follows is final: the block's value, or else the whole file's.
	Fragment  int    `json:"fragment,omitempty"` // see Profile
	Mssfix    Mssfix `json:"mssfix"`
	Nobind    bool   `json:"nobind,omitempty"`
	LocalAddr string `json:"local,omitempty"`
	LocalPort uint16 `json:"lport,omitempty"`
	Proxy     *Proxy `json:"proxy,omitempty"` // nil: none

	Keys *ControlKeys `json:"-"` // nil: the Profile's
}

// ControlKeys protect the control channel: key files' text, at most one of them set.
type ControlKeys struct {
	TLSAuth, TLSCrypt, TLSCryptV2 push.Secret
	Direction                     int // of TLSAuth; -1: both ways
}

// VerifyName is verify-x509-name.
type VerifyName struct {
	Type  string `json:"type"` // subject, name, name-prefix; empty: no check
	Value string `json:"value"`
}

// VerifyHash is verify-hash: the fingerprint of the CA that issued the server's certificate.
type VerifyHash struct {
	Algorithm string `json:"algorithm"` // SHA1, SHA256
	Sum       []byte `json:"sum"`
}

// Mssfix is mssfix; the zero value means the default: not written, or without a number.
type Mssfix struct {
	Set   bool   `json:"set"`
	Value int    `json:"value"` // bytes; 0 = off
	Mode  string `json:"mode"`  // "", "mtu", "fixed"
}

// Profile is a checked .ovpn. It is a plain value that nobody may change after
// Parse; reading it from several goroutines is safe. Zero durations mean not written.
type Profile struct {
	Name           string // as given to Parse; if that was empty, SuggestedName
	SuggestedName  string // by the text (Access Server's comments, setenv FRIENDLY_NAME)
	Remotes        []Remote
	RemoteRandom   bool
	RandomHostname bool // put a random label before the host name

	CA, Cert, ExtraCerts, CRL []byte      // PEM
	Key                       push.Secret // PEM
	PKCS12                    push.Secret // DER; its contents are also in CA, Cert and Key when it needs no passphrase
	Passphrase                push.Secret // askpass's file; for Unlock
	PKCS11ID                  string      // pkcs11-id: certificate and key are on a token
	NoClientCert              bool        // setenv CLIENT_CERT 0

	TLSAuth, TLSCrypt, TLSCryptV2 push.Secret // key files' text
	KeyDirection                  int         // -1: both ways
	Auth                          string      // digest of tls-auth and of ciphers without their own authentication; empty: SHA1

	Ciphers  []string // acceptable data channel ciphers in order; empty: the default
	Fallback string   // data-ciphers-fallback, else cipher: for a server that cannot negotiate; offered last
	// Broken are the ciphers with blocks of 64 bits that the file names, in order, each once, and
	// BrokenFallback is that of them which Fallback would be: for whoever is allowed to use them.
	Broken         []string
	BrokenFallback string

	RemoteCertTLS  string   // "server", "client", or empty
	RemoteCertKU   []uint16 // acceptable key usages, first 8 bits as in X.509
	RemoteCertEKU  string   // dotted OID
	NSCertType     string   // "server", "client"
	VerifyName     VerifyName
	VerifyHash     *VerifyHash
	Fingerprints   [][]byte // peer-fingerprint: SHA-256 of the certificate
	TLSMin, TLSMax uint16   // crypto/tls versions; 0 = default
	TLSGroups      []string
	TLSCiphers     []uint16 // TLS 1.2 suites; empty: default
	CertProfile    string   // legacy (default), preferred, suiteb, insecure
	UsernameFields []string // x509-username-field: what VerifyName calls the name; empty: CN

	AuthUserPass    bool
	Username        string
	Password        push.Secret
	AuthNoCache     bool
	AuthRetry       string // none, nointeract, interact; empty: none
	StaticChallenge *StaticChallenge
	AuthFederate    bool

	Dev, DevType string // Dev is a wish
	MTU          int    // 0: default
	PacketSize   int    // max-packet-size
	Mssfix       Mssfix
	Fragment     int      // largest datagram body in bytes; 0: off, or a server is reached over TCP: Remote.Fragment counts
	Compress     string   // framing until a push says otherwise: "", lzo-no, lzo, stub, stub-v2, lz4, lz4-v2
	PointToPoint bool     // tls-client without pull: two equal peers, nothing is pushed
	Proxy        *Proxy   // of the whole file; Remote.Proxy is what counts
	proxyLogin   *login   // of the whole file; nil: none
	written      []Remote // before an HTTP proxy left some out

	Own         push.Reply // routes, redirect-gateway, DNS, addresses, timers, buffers that the file names; PeerID is -1
	RouteNoPull bool
	Filter      push.Filter

	Ping, PingRestart, PingExit time.Duration
	RenegSec                    time.Duration
	RenegSet                    bool // RenegSec was written; then 0 means never
	RenegMin                    time.Duration
	RenegBytes, RenegPackets    int64 // 0: no limit
	HandWindow, TranWindow      time.Duration
	TLSTimeout                  time.Duration
	ServerPollTimeout           time.Duration // 0: default
	ConnectRetry                [2]time.Duration
	ConnectRetryMax             int // 0: no limit
	ExitNotify                  int // 0: off; UDP only

	Nobind         bool
	LocalAddr      string
	LocalPort      uint16
	SndBuf, RcvBuf int
	ReplayWindow   int // packets; 0: default
	ReplayTime     time.Duration
	Mark           int // SO_MARK; 0: none

	// Inactive ends the connection after so long with less than InactiveBytes inside; SessionTimeout always.
	Inactive, SessionTimeout time.Duration
	InactiveBytes            int64
	PushPeerInfo             bool
	SetEnv                   map[string]string // UV_* and IV_*
	Verb                     int               // -1: not written

	Directives []Directive

	signer crypto.Signer // WithKey's; nil: Key
	source string        // with all files inlined
	errs   []*Error
}

// StaticChallenge is a second factor that is asked together with the password.
type StaticChallenge struct {
	Text   string `json:"text"`
	Echo   bool   `json:"echo"`
	Concat bool   `json:"concat"` // append to the password instead of SCRV1
}

// Text is the profile as written, with every file that it refers to inlined.
// It holds the private key.
func (p *Profile) Text() string { return p.source }

// Unsupported returns the first directive that keeps this release from
// connecting, or nil.
func (p *Profile) Unsupported() error {
	for _, d := range p.Directives {
		if d.Verdict == Unsupported {
			return &Error{Profile: p.Name, Line: d.Line, Directive: d.Words[0], Text: d.Note}
		}
	}
	return nil
}
