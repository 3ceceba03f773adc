package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"github.com/adit-vpn/adit/ovpn/push"
)

// ldapServer is one directory server. The connection is always protected by TLS before
// a name or a password is sent.
type ldapServer struct {
	host, port string
	startTLS   bool
}

func (s ldapServer) String() string { return net.JoinHostPort(s.host, s.port) }

func parseServer(text string, startTLS bool) (ldapServer, error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return ldapServer{}, fmt.Errorf("directory: %q is not like ldaps://dc1.example.com", text)
	}
	s := ldapServer{host: u.Hostname(), port: u.Port(), startTLS: startTLS}
	switch {
	case u.Scheme == "ldaps" && !startTLS:
		if s.port == "" {
			s.port = ldap.DefaultLdapsPort
		}
	case u.Scheme == "ldap" && startTLS:
		if s.port == "" {
			s.port = ldap.DefaultLdapPort
		}
	case u.Scheme == "ldaps":
		return ldapServer{}, fmt.Errorf("directory: %s has TLS from the start: StartTLS goes with ldap://", text)
	case u.Scheme == "ldap":
		return ldapServer{}, fmt.Errorf("directory: %s would send passwords in the clear: use ldaps://, or switch StartTLS on", text)
	default:
		return ldapServer{}, fmt.Errorf("directory: %q is not like ldaps://dc1.example.com", text)
	}
	return s, nil
}

const (
	dialTimeout = 4 * time.Second // to one server, TLS included
	maxLDAP     = 512 << 10       // bytes of a server's answers, all together
	maxMatches  = 10              // users that one name may find
	maxSIDs     = 5000            // groups that are read; AD itself ends at 1015
)

// startTLSRequest is a whole message (RFC 4511 §4.14). The library has one, too, but reads the
// answers behind it from a connection that we cannot bound.
func startTLSRequest() []byte {
	p := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 1, ""))
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	op.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, "1.3.6.1.4.1.1466.20037", ""))
	p.AppendChild(op)
	return p.Bytes()
}

// bounded is a connection that ends after maxLDAP bytes from the other end.
type bounded struct {
	net.Conn
	left int64
}

var errTooMuch = errors.New("the server's answer is too large")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooMuch
	}
	n, err := b.Conn.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// dial connects to s with TLS. The connection ends with ctx.
func (s ldapServer) dial(ctx context.Context, cfg *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", s.String())
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	fail := func(err error) (net.Conn, error) {
		raw.Close()
		if ctx.Err() != nil {
			err = fmt.Errorf("no TLS session within %v", dialTimeout)
		}
		return nil, err
	}
	if s.startTLS {
		if err := askTLS(raw); err != nil {
			return fail(fmt.Errorf("StartTLS: %w", err))
		}
	}
	cfg = cfg.Clone()
	cfg.ServerName = s.host
	c := tls.Client(raw, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return fail(err)
	}
	return c, nil
}

// askTLS reads not one byte more than the answer: what a machine in between puts behind it in
// the clear would be taken for the server's.
func askTLS(c net.Conn) error {
	if _, err := c.Write(startTLSRequest()); err != nil {
		return err
	}
	p, err := ber.ReadPacket(io.LimitReader(c, 4096))
	if err != nil {
		return err
	}
	if err := ldap.GetLDAPError(p); err != nil {
		return plain(err)
	}
	return nil
}

// person is who signed in, as the directory says.
type person struct {
	sid       string
	account   string // sAMAccountName
	principal string // user@realm
	groups    []string
}

// refusal is a definite answer of the directory: this user does not get in.
type refusal struct{ reason string }

func (r refusal) Error() string { return r.reason }

// subCodes are the reasons in AD's answers to a bind: Windows error numbers in hexadecimal.
var subCodes = map[string]string{
	"525": "no such user",
	"52e": "wrong user name or password",
	"52f": "the account has restrictions",
	"530": "not allowed at this time of the day",
	"531": "not allowed from this machine",
	"532": "the password has expired",
	"533": "the account is disabled",
	"568": "too many groups",
	"701": "the account has expired",
	"773": "the password must be changed first",
	"775": "the account is locked",
}

var dataCode = regexp.MustCompile(`\bdata ([0-9a-fA-F]{1,8})\b`)

// bindError tells the user's faults from the server's.
func bindError(err error) error {
	var e *ldap.Error
	if !errors.As(err, &e) || e.ResultCode != ldap.LDAPResultInvalidCredentials {
		return fmt.Errorf("bind: %w", plain(err))
	}
	m := dataCode.FindStringSubmatch(e.Err.Error())
	if m == nil {
		return refusal{"wrong user name or password"}
	}
	code := strings.ToLower(m[1])
	if text, ok := subCodes[code]; ok {
		return refusal{text + " (" + code + ")"}
	}
	return refusal{"refused (" + code + ")"}
}

// plain makes one line of an error of the library, without the server's own text.
func plain(err error) error {
	var e *ldap.Error
	if errors.As(err, &e) && e.ResultCode < ldap.ErrorNetwork {
		return fmt.Errorf("the server says %q (%d)", ldap.LDAPResultCodeMap[e.ResultCode], e.ResultCode)
	}
	return errors.New(strings.Join(strings.Fields(err.Error()), " "))
}

// signIn asks a server, over an open connection, whether the password is the
// account's, and who that is. It binds once.
func signIn(ctx context.Context, c net.Conn, base string, a account, password push.Secret) (person, error) {
	l := connect(c)
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	p, err := ask(l, base, a, password)
	switch {
	case err == nil || errors.As(err, new(refusal)):
	case ctx.Err() != nil:
		err = fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return p, err
}

// connect reads a server's answers, but not more than maxLDAP of them.
func connect(c net.Conn) *ldap.Conn {
	l := ldap.NewConn(&bounded{Conn: c, left: maxLDAP}, true)
	l.Start()
	return l
}

func ask(l *ldap.Conn, base string, a account, password push.Secret) (person, error) {
	if err := l.Bind(a.bind, string(password)); err != nil {
		return person{}, bindError(err)
	}
	// What this connection may do is what the password opened. A name alone may mean another
	// account: of a trusted domain, or one whose user@realm is someone's plain name.
	root, err := search(l, "", ldap.ScopeBaseObject, "(objectClass=*)", 1, "tokenGroups")
	if err != nil || len(root) != 1 {
		return person{}, fmt.Errorf("who signed in: %w", orMissing(err))
	}
	token := map[string]bool{}
	for _, sid := range root[0].GetRawAttributeValues("tokenGroups") {
		token[string(sid)] = true
	}
	found, err := search(l, base, ldap.ScopeWholeSubtree, a.filter, maxMatches, "objectSid", "sAMAccountName", "userPrincipalName", "primaryGroupID")
	if err != nil {
		return person{}, fmt.Errorf("search for the user: %w", err)
	}
	for _, e := range found {
		if sid := e.GetRawAttributeValue("objectSid"); len(sid) > 0 && token[string(sid)] {
			return read(l, base, e)
		}
	}
	return person{}, refusal{"signed in, but not found under " + base}
}

var errMissing = errors.New("the directory does not say it")

func orMissing(err error) error {
	if err == nil {
		return errMissing
	}
	return err
}

// read is the rest about a user whose entry was found.
func read(l *ldap.Conn, base string, e *ldap.Entry) (person, error) {
	own := e.GetRawAttributeValue("objectSid")
	sid, err := sidText(own)
	if err != nil {
		return person{}, err
	}
	p := person{sid: sid, account: e.GetAttributeValue("sAMAccountName"), principal: e.GetAttributeValue("userPrincipalName")}
	if p.account == "" {
		return person{}, fmt.Errorf("sAMAccountName: %w", errMissing)
	}
	sids, err := tokenGroups(l, e)
	if err != nil {
		sids, err = chain(l, base, e)
	}
	if err != nil {
		return person{}, fmt.Errorf("groups: %w", err)
	}
	p.groups, err = groupIDs(sids)
	return p, err
}

// tokenGroups is all groups of an entry, those in which it is through other groups, too.
func tokenGroups(l *ldap.Conn, e *ldap.Entry) ([][]byte, error) {
	found, err := search(l, e.DN, ldap.ScopeBaseObject, "(objectClass=*)", 1, "tokenGroups")
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || len(found[0].GetRawAttributeValues("tokenGroups")) == 0 {
		return nil, errMissing
	}
	return found[0].GetRawAttributeValues("tokenGroups"), nil
}

// chain finds the groups where tokenGroups cannot be read (LDAP_MATCHING_RULE_IN_CHAIN). The
// primary group is not among the members' and is added.
func chain(l *ldap.Conn, base string, e *ldap.Entry) ([][]byte, error) {
	filter := "(&(objectClass=group)(member:1.2.840.113556.1.4.1941:=" + ldap.EscapeFilter(e.DN) + "))"
	found, err := search(l, base, ldap.ScopeWholeSubtree, filter, maxSIDs, "objectSid")
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, g := range found {
		if sid := g.GetRawAttributeValue("objectSid"); len(sid) > 0 {
			out = append(out, sid)
		}
	}
	if id, err := strconv.ParseUint(e.GetAttributeValue("primaryGroupID"), 10, 32); err == nil {
		out = append(out, domainSID(e.GetRawAttributeValue("objectSid"), uint32(id)))
	}
	return out, nil
}

// search asks for a few attributes. Referrals are left alone: whoever named the servers
// to be asked did not name those.
func search(l *ldap.Conn, base string, scope int, filter string, limit int, attributes ...string) ([]*ldap.Entry, error) {
	r := ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, limit, 0, false, filter, attributes, nil)
	r.EnforceSizeLimit = true
	got, err := l.Search(r)
	if err != nil {
		return nil, plain(err)
	}
	return got.Entries, nil
}
