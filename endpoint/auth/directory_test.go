package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/endpoint/auth/radius"
	"github.com/adit-vpn/adit/ovpn/challenge"
)

// TestMain: no sign-in leaves anything running, whatever a server does.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testCA signs the certificate of a server on 127.0.0.1.
type testCA struct {
	pem    []byte
	server tls.Certificate
}

func newCA(t testing.TB, name string) testCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return testCA{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
}

// listen serves each connection by serve, until the test ends.
func listen(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

// fakeAD is a directory server that a test can make lie. A bind is answered with bindCode and bindText; the
// token of the connection and the entry of the user are as given.
type fakeAD struct {
	bindCode int64
	bindText string
	token    [][]byte
	entries  []fakeEntry // of a search below the base
	groups   [][]byte    // tokenGroups of any entry; none: it has no such attribute
	chained  [][]byte    // objectSid of what the chain finds
	binds    atomic.Int32
	searches atomic.Int32
}

type fakeEntry struct {
	dn, account string
	sid         []byte
}

func message(id int64, tag ber.Tag, children ...*ber.Packet) []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	for _, c := range children {
		op.AppendChild(c)
	}
	p.AppendChild(op)
	return p.Bytes()
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(id int64, tag ber.Tag, code int64, text string) []byte {
	return message(id, tag, ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""), octets(""), octets(text))
}

func entry(id int64, dn string, attributes map[string][][]byte) []byte {
	list := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	for name, values := range attributes {
		a := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
		a.AppendChild(octets(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(octets(string(v)))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	return message(id, ldap.ApplicationSearchResultEntry, octets(dn), list)
}

func (f *fakeAD) serve(c net.Conn) {
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			f.binds.Add(1)
			c.Write(result(id, ldap.ApplicationBindResponse, f.bindCode, f.bindText))
		case ldap.ApplicationSearchRequest:
			f.searches.Add(1)
			filter, err := ldap.DecompileFilter(op.Children[6])
			base := op.Children[0].Value.(string)
			switch {
			case err != nil:
				return
			case base == "":
				c.Write(entry(id, "", map[string][][]byte{"tokenGroups": f.token}))
			case op.Children[1].Value == int64(ldap.ScopeBaseObject):
				if len(f.groups) > 0 {
					c.Write(entry(id, base, map[string][][]byte{"tokenGroups": f.groups}))
				}
			case strings.Contains(filter, "1.2.840.113556.1.4.1941"):
				for i, sid := range f.chained {
					c.Write(entry(id, fmt.Sprintf("CN=g%d", i), map[string][][]byte{"objectSid": {sid}}))
				}
			default:
				// A referral on the way, as AD sends for other naming contexts. Nobody may follow it.
				c.Write(message(id, ldap.ApplicationSearchResultReference, octets("ldap://127.0.0.1:1/DC=elsewhere")))
				for _, e := range f.entries {
					c.Write(entry(id, e.dn, map[string][][]byte{"objectSid": {e.sid}, "sAMAccountName": {[]byte(e.account)}, "primaryGroupID": {[]byte("513")}}))
				}
			}
			c.Write(result(id, ldap.ApplicationSearchResultDone, 0, ""))
		default:
			return
		}
	}
}

func testSID(relative uint32) []byte {
	b := []byte{1, 5, 0, 0, 0, 0, 0, 5}
	for _, n := range []uint32{21, 1, 2, 3, relative} {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return b
}

// directoryAt makes a Directory for TLS servers that handle connections by serve.
func directoryAt(t *testing.T, serve ...func(c net.Conn)) *Directory {
	t.Helper()
	ca := newCA(t, "test CA")
	cfg := DirectoryConfig{CA: ca.pem, BaseDN: "DC=example,DC=test", Realm: "example.test", Now: time.Now}
	for _, s := range serve {
		cfg.Servers = append(cfg.Servers, "ldaps://"+listen(t, func(c net.Conn) {
			secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.server}})
			if secure.Handshake() == nil {
				s(secure)
			}
		}))
	}
	d, err := NewDirectory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Windows's answers to a bind, one by one; the next server is never asked about them.
func TestSubCodes(t *testing.T) {
	for code, want := range map[string]string{
		"525": "no such user", "52e": "wrong user name or password", "52E": "(52e)", "530": "time of the day", "531": "this machine",
		"532": "password has expired", "533": "disabled", "701": "account has expired", "773": "must be changed", "775": "locked",
		"57": "refused (57)",
	} {
		first := &fakeAD{bindCode: ldap.LDAPResultInvalidCredentials, bindText: "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data " + code + ", v4563\x00"}
		second := &fakeAD{}
		d := directoryAt(t, first.serve, second.serve)
		o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"})
		got, ok := o.(Denied)
		if err != nil || !ok || !strings.Contains(got.Reason, want) || got.Tell != tellDenied || strings.Contains(got.Reason, "DSID") {
			t.Errorf("%s: %+v %v", code, o, err)
		}
		if first.binds.Load() != 1 || second.binds.Load() != 0 {
			t.Errorf("%s: %d and %d binds", code, first.binds.Load(), second.binds.Load())
		}
	}
	for code, text := range map[int64]string{
		ldap.LDAPResultStrongAuthRequired: "Strong Auth Required", ldap.LDAPResultUnavailable: "Unavailable", ldap.LDAPResultBusy: "Busy",
		ldap.LDAPResultReferral: "Referral", ldap.LDAPResultUnwillingToPerform: "Unwilling",
	} {
		first, second := &fakeAD{bindCode: code, bindText: "go away\r\n"}, &fakeAD{}
		d := directoryAt(t, first.serve, second.serve)
		o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"})
		if err == nil || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") || second.binds.Load() != 0 {
			t.Errorf("%d: %+v %v", code, o, err)
		}
	}
}

// An entry that the name finds is not the user unless it is the one whose password was shown:
// OTHER\ann of a trusted domain is not this domain's ann.
func TestOnlyWhoSignedIn(t *testing.T) {
	everyone := []byte{1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0}
	ann := fakeEntry{"CN=ann,DC=example,DC=test", "ann", testSID(1101)}
	f := &fakeAD{token: [][]byte{everyone, testSID(1102)}, entries: []fakeEntry{ann}, groups: [][]byte{testSID(512)}}
	d := directoryAt(t, f.serve)
	o, err := d.Check(t.Context(), Credentials{Username: `OTHER\ann`, Password: "secret"})
	if got, ok := o.(Denied); err != nil || !ok || !strings.Contains(got.Reason, "not found under DC=example,DC=test") {
		t.Errorf("%+v %v", o, err)
	}
	f = &fakeAD{token: [][]byte{testSID(1102), everyone}, entries: []fakeEntry{ann, {"CN=mary,DC=example,DC=test", "mary", testSID(1102)}}, groups: [][]byte{testSID(1200), everyone, testSID(513), testSID(1200)}}
	o, err = directoryAt(t, f.serve).Check(t.Context(), Credentials{Username: "ann", Password: "secret"})
	if a, ok := o.(Accepted); err != nil || !ok || a.Identity.Username != "mary@example.test" || !slices.Equal(a.Identity.Groups, []string{"S-1-5-21-1-2-3-1200", "S-1-5-21-1-2-3-513"}) {
		t.Errorf("%+v %v", o, err)
	}
	f = &fakeAD{entries: []fakeEntry{ann}, groups: [][]byte{testSID(512)}} // does not tell who signed in
	if o, err = directoryAt(t, f.serve).Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err != nil {
		t.Fatal(err)
	} else if _, ok := o.(Denied); !ok {
		t.Errorf("%+v", o)
	}
}

// Where tokenGroups cannot be read, the chain of memberships and the primary group are.
func TestGroupsWithoutToken(t *testing.T) {
	f := &fakeAD{token: [][]byte{testSID(1101)}, entries: []fakeEntry{{"CN=ann,DC=example,DC=test", "ann", testSID(1101)}}, chained: [][]byte{testSID(1300), testSID(1301)}}
	o, err := directoryAt(t, f.serve).Check(t.Context(), Credentials{Username: "ann", Password: "secret"})
	want := []string{"S-1-5-21-1-2-3-1300", "S-1-5-21-1-2-3-1301", "S-1-5-21-1-2-3-513"}
	if a, ok := o.(Accepted); err != nil || !ok || !slices.Equal(a.Identity.Groups, want) {
		t.Errorf("%+v %v", o, err)
	}
	f.chained = [][]byte{{1, 2, 3}}
	if o, err := directoryAt(t, f.serve).Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); !errors.Is(err, errSID) {
		t.Errorf("a malformed group: %+v %v", o, err)
	}
}

// What is sent is one bind and filters in which the name is only a name.
func TestNoInjection(t *testing.T) {
	for _, name := range []string{
		"ann", "*", "a*b", "ann)(objectClass=*", "ann))(|(cn=*", `ann\`, `an\2an`, "(&)", "ann=x,DC=y", "ünï", "a+b#c;d<e>f\"g", "*@example.test", `EXAMPLE\*)(cn=*`,
		"ann@example.test)(cn=*", "ann@a.test@example.test",
	} {
		a, err := parseAccount(name, "example.test")
		if err != nil {
			continue // refused is safe, too
		}
		p, err := ldap.CompileFilter(a.filter)
		if err != nil {
			t.Errorf("%q: %s: %v", name, a.filter, err)
			continue
		}
		checkFilter(t, name, a, p)
	}
}

// checkFilter demands and(objectClass=user, name) with nothing but equality.
func checkFilter(t *testing.T, name string, a account, p *ber.Packet) {
	t.Helper()
	equal := func(p *ber.Packet, attribute string, value ...string) bool {
		return p.Tag == ldap.FilterEqualityMatch && len(p.Children) == 2 && p.Children[0].Value == attribute && slices.Contains(value, p.Children[1].Data.String())
	}
	if p.Tag != ldap.FilterAnd || len(p.Children) != 2 || !equal(p.Children[0], "objectClass", "user") {
		t.Fatalf("%q: %s", name, a.filter)
	}
	who := p.Children[1]
	_, down, _ := strings.Cut(name, `\`)
	local := name
	if i := strings.LastIndex(name, "@"); i >= 0 {
		local = name[:i]
	}
	if who.Tag == ldap.FilterOr && len(who.Children) == 2 && equal(who.Children[1], "userPrincipalName", a.bind) {
		who = who.Children[0]
	}
	if !equal(who, "sAMAccountName", down, local) {
		t.Fatalf("%q: %s", name, a.filter)
	}
}

func FuzzAccount(f *testing.F) {
	for _, s := range []string{"ann", "ann@example.test", `EXAMPLE\ann`, "*)(cn=*", `a\2ab`, "ü@x", "\\", "@", " @example.test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		a, err := parseAccount(name, "example.test")
		if err != nil {
			return
		}
		if !strings.ContainsAny(a.bind, `@\`) || strings.HasPrefix(a.bind, "@") || a.bind != name && a.bind != name+"@example.test" {
			t.Fatalf("%q binds as %q", name, a.bind)
		}
		p, err := ldap.CompileFilter(a.filter)
		if err != nil {
			t.Fatalf("%q: %s: %v", name, a.filter, err)
		}
		checkFilter(t, name, a, p)
	})
}

// A server that hangs, or does not stop, ends in an error and nothing more.
func TestHostileServer(t *testing.T) {
	ok := &fakeAD{token: [][]byte{testSID(1101)}, entries: []fakeEntry{{"CN=ann", "ann", testSID(1101)}}, groups: [][]byte{testSID(513)}}
	afterBind := func(send func(c net.Conn)) func(c net.Conn) {
		return func(c net.Conn) {
			p, err := ber.ReadPacket(c)
			if err != nil {
				return
			}
			c.Write(result(p.Children[0].Value.(int64), ldap.ApplicationBindResponse, 0, ""))
			send(c)
		}
	}
	for _, tc := range []struct {
		name  string
		serve func(c net.Conn)
	}{
		{"a length of 2 GiB", func(c net.Conn) { c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff}); flood(c, []byte{4, 0}) }},
		{"tiny elements without end", func(c net.Conn) { c.Write([]byte{0x30, 0x80}); flood(c, []byte{5, 0}) }},
		{"one string of 1 GiB", func(c net.Conn) {
			c.Write([]byte{0x30, 0x84, 0x40, 0, 0, 8, 4, 0x84, 0x40, 0, 0, 0})
			flood(c, make([]byte, 4096))
		}},
		{"nested without end", func(c net.Conn) { flood(c, []byte{0x30, 0x80}) }},
		{"entries without end", afterBind(func(c net.Conn) {
			p, err := ber.ReadPacket(c)
			if err == nil {
				flood(c, entry(p.Children[0].Value.(int64), "", map[string][][]byte{"tokenGroups": {testSID(1)}}))
			}
		})},
		{"noise", func(c net.Conn) { c.Write(bytes.Repeat([]byte{0xff, 0x13, 0x37}, 1000)) }},
		{"an empty answer", func(c net.Conn) { ber.ReadPacket(c); c.Write([]byte{0x30, 0}); io.Copy(io.Discard, c) }},
		{"a goodbye", func(c net.Conn) { ber.ReadPacket(c) }},
		{"a goodbye after the bind", afterBind(func(net.Conn) {})},
		{"another message's answer", func(c net.Conn) {
			ber.ReadPacket(c)
			c.Write(result(999, ldap.ApplicationBindResponse, 0, ""))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := directoryAt(t, tc.serve, ok.serve)
			o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"})
			if err == nil || o != nil || strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%+v %v", o, err)
			}
		})
	}
	if ok.binds.Load() != 0 {
		t.Error("a bind that had no answer was tried at another server")
	}
}

func flood(c net.Conn, b []byte) {
	big := bytes.Repeat(b, 65536/len(b)+1)
	for range 1000 {
		if _, err := c.Write(big); err != nil {
			return
		}
	}
}

// A server that takes the connection and says nothing is passed over, the TLS handshake
// included; one that hangs after the bind is not.
func TestHangingServers(t *testing.T) {
	t.Parallel()
	hang := func(c net.Conn) { io.Copy(io.Discard, c) }
	ok := &fakeAD{token: [][]byte{testSID(1101)}, entries: []fakeEntry{{"CN=ann", "ann", testSID(1101)}}, groups: [][]byte{testSID(513)}}
	d := directoryAt(t, ok.serve)
	good := d.servers[0]
	host, port, err := net.SplitHostPort(listen(t, hang))
	if err != nil {
		t.Fatal(err)
	}
	d.servers = []ldapServer{{host: host, port: port}, {host: host, port: port, startTLS: true}, good}
	began := time.Now()
	if o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err != nil {
		t.Errorf("%+v %v", o, err)
	}
	d = directoryAt(t, hang, ok.serve)
	if o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err == nil || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("%+v %v", o, err)
	}
	if took := time.Since(began); took > 2*SignInBudget {
		t.Errorf("took %v", took)
	}
	if ok.binds.Load() != 1 {
		t.Errorf("%d binds", ok.binds.Load())
	}
}

// What stands in the clear behind the answer to StartTLS is not taken for the server's.
func TestStartTLSInjection(t *testing.T) {
	ca := newCA(t, "test CA")
	var said atomic.Bool
	server := listen(t, func(c net.Conn) {
		if _, err := ber.ReadPacket(c); err != nil {
			return
		}
		c.Write(append(result(1, ldap.ApplicationExtendedResponse, 0, ""), result(1, ldap.ApplicationBindResponse, 0, "")...))
		if tls.Server(c, &tls.Config{Certificates: []tls.Certificate{ca.server}}).Handshake() == nil {
			said.Store(true)
		}
	})
	cfg := DirectoryConfig{Servers: []string{"ldap://" + server}, StartTLS: true, CA: ca.pem, BaseDN: "DC=example,DC=test", Realm: "example.test", Now: time.Now}
	d, err := NewDirectory(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err == nil || said.Load() {
		t.Errorf("%+v %v", o, err)
	}
	refusing := listen(t, func(c net.Conn) {
		ber.ReadPacket(c)
		c.Write(result(1, ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError, "no"))
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("%q was sent in the clear", b)
		}
	})
	cfg.Servers = []string{"ldap://" + refusing}
	if d, err = NewDirectory(cfg); err != nil {
		t.Fatal(err)
	}
	if o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err == nil || !strings.Contains(err.Error(), "StartTLS") {
		t.Errorf("%+v %v", o, err)
	}
}

func TestNewDirectoryRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, want string
		change     func(*DirectoryConfig)
	}{
		{"plain LDAP", "in the clear", func(c *DirectoryConfig) { c.Servers = []string{"ldap://dc1.example.test"} }},
		{"plain LDAP second", "in the clear", func(c *DirectoryConfig) { c.Servers = append(c.Servers, "ldap://dc1.example.test") }},
		{"StartTLS in TLS", "StartTLS goes with ldap://", func(c *DirectoryConfig) { c.StartTLS = true }},
		{"no server", "0 servers", func(c *DirectoryConfig) { c.Servers = nil }},
		{"a name", "ldaps://", func(c *DirectoryConfig) { c.Servers = []string{"dc1.example.test"} }},
		{"a path", "ldaps://", func(c *DirectoryConfig) { c.Servers = []string{"ldaps://dc1.example.test/DC=x"} }},
		{"a password", "ldaps://", func(c *DirectoryConfig) { c.Servers = []string{"ldaps://a:b@dc1.example.test"} }},
		{"a pipe", "ldaps://", func(c *DirectoryConfig) { c.Servers = []string{"ldapi:///run/slapd"} }},
		{"no base", "base DN", func(c *DirectoryConfig) { c.BaseDN = "" }},
		{"no realm", "realm", func(c *DirectoryConfig) { c.Realm = "" }},
		{"a realm with spaces", "realm", func(c *DirectoryConfig) { c.Realm = "example test" }},
		{"no CA in the file", "CA", func(c *DirectoryConfig) { c.CA = []byte("hello") }},
		{"RADIUS without secret", "secret", func(c *DirectoryConfig) {
			c.Radius = &radius.Config{Servers: []string{"127.0.0.1:1812"}, Protocol: radius.PAP, Timeout: time.Second}
		}},
	} {
		cfg := DirectoryConfig{Servers: []string{"ldaps://dc1.example.test"}, BaseDN: "DC=example,DC=test", Realm: "example.test", Now: time.Now}
		if _, err := NewDirectory(cfg); err != nil {
			t.Fatal(err)
		}
		tc.change(&cfg)
		if _, err := NewDirectory(cfg); err == nil || !strings.Contains(err.Error(), tc.want) || !strings.HasPrefix(err.Error(), "directory: ") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestSIDText(t *testing.T) {
	for _, tc := range []struct{ hex, want string }{
		{"010100000000000100000000", "S-1-1-0"},
		{"01020000000000052000000021020000", "S-1-5-32-545"},
		{"010500000000000515000000010000000200000003000000ffffffff", "S-1-5-21-1-2-3-4294967295"},
		{"0101ffffffffffff01000000", "S-1-0xFFFFFFFFFFFF-1"},
	} {
		b, err := hex.DecodeString(tc.hex)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := sidText(b); err != nil || got != tc.want {
			t.Errorf("%s: %s %v, want %s", tc.hex, got, err, tc.want)
		}
		for n := range b {
			if got, err := sidText(b[:n]); err == nil {
				t.Errorf("%x reads %s", b[:n], got)
			}
		}
	}
	var many [][]byte
	for n := range uint32(300) {
		many = append(many, testSID(n))
	}
	ids, err := groupIDs(append(many, many...))
	if err != nil || len(ids) != maxGroups || !slices.IsSorted(ids) {
		t.Errorf("%d groups, %v", len(ids), err)
	}
	if got, err := sidText(domainSID(testSID(1101), 513)); err != nil || got != "S-1-5-21-1-2-3-513" {
		t.Errorf("%s %v", got, err)
	}
}

func FuzzSID(f *testing.F) {
	f.Add(testSID(1))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := sidText(b)
		if err == nil && (!strings.HasPrefix(s, "S-1-") || len(s) > maxGroupID) {
			t.Fatalf("%x reads %s", b, s)
		}
	})
}

func TestMemory(t *testing.T) {
	now := time.Unix(1000, 0)
	m := NewMemory()
	done, ok := m.take("S-1", "123456", now)
	if !ok {
		t.Fatal("new")
	}
	if _, ok := m.take("S-1", "123456", now); ok {
		t.Error("judged twice at once")
	}
	if other, ok := m.take("S-2", "123456", now); !ok {
		t.Error("another user's")
	} else {
		other(false, now)
	}
	done(false, now)
	if done, ok = m.take("S-1", "123456", now); !ok {
		t.Fatal("refused codes may be tried again")
	}
	done(true, now)
	if _, ok := m.take("S-1", "123456", now.Add(reuse-1)); ok {
		t.Error("used twice")
	}
	if _, ok := m.take("S-1", "123456", now.Add(reuse)); !ok {
		t.Error("90 s later")
	}
	for i := range maxQuestions {
		if !m.ask(fmt.Sprint(i), question{name: "ann", until: now.Add(time.Minute)}, now) {
			t.Fatal(i)
		}
	}
	if m.ask("more", question{}, now) {
		t.Error("questions without end")
	}
	if _, ok := m.answered("1", "bob", now); ok {
		t.Error("another user's answer")
	}
	if _, ok := m.answered("1", "ann", now); !ok {
		t.Error("the answer")
	}
	if _, ok := m.answered("1", "ann", now); ok {
		t.Error("answered twice")
	}
	if _, ok := m.answered("2", "ann", now.Add(time.Minute)); ok {
		t.Error("too late")
	}
	if !m.ask("more", question{}, now.Add(time.Minute)) {
		t.Error("old questions stay")
	}
}

// With RADIUS silent the password alone lets nobody in.
func TestNoCodeNoEntry(t *testing.T) {
	f := &fakeAD{token: [][]byte{testSID(1101)}, entries: []fakeEntry{{"CN=ann", "ann", testSID(1101)}}, groups: [][]byte{testSID(513)}}
	d := directoryAt(t, f.serve)
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if d.radius, err = radius.New(radius.Config{Servers: []string{l.LocalAddr().String()}, Secret: "testing123", Protocol: radius.PAP, Timeout: 100 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: challenge.Static("secret", "123456")})
	if o != nil || !errors.Is(err, radius.ErrSilent) {
		t.Errorf("%+v %v", o, err)
	}
	if o, err := d.Check(t.Context(), Credentials{Username: "ann", Password: "secret"}); err != nil || f.binds.Load() != 1 {
		t.Errorf("%+v %v, %d binds", o, err, f.binds.Load())
	} else if _, ok := o.(Denied); !ok {
		t.Errorf("%+v", o)
	}
}
