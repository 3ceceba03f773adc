package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// Every certificate is judged in a real handshake, as the endpoint does it.
func TestMutual(t *testing.T) {
	pki, other := ovpntest.NewPKI(t), ovpntest.NewPKI(t)
	now := func() time.Time { return ovpntest.Epoch() }
	later := ovpntest.Epoch().AddDate(0, 1, 0)
	alice := pki.Issue("alice", x509.ExtKeyUsageClientAuth, nil)
	bob := pki.Issue("bob", x509.ExtKeyUsageClientAuth, nil)
	for _, tc := range []struct {
		name string
		cert tls.Certificate
		crl  []byte
		want string // in the server's error; "" means admitted
	}{
		{"good", alice, nil, ""},
		{"good beside a revoked one", alice, pki.CRL(later, bob), ""},
		{"revoked", bob, pki.CRL(later, bob), ErrRevoked.Error()},
		{"list expired", alice, pki.CRL(ovpntest.Epoch().AddDate(0, 0, -1)), ErrCRLExpired.Error()},
		{"another authority", other.Issue("alice", x509.ExtKeyUsageClientAuth, nil), nil, "unknown authority"},
		{"a server's certificate", pki.Issue("alice", x509.ExtKeyUsageServerAuth, nil), nil, "incompatible key usage"},
		{"no name", pki.Issue("", x509.ExtKeyUsageClientAuth, nil), nil, ErrNoName.Error()},
		{"none", tls.Certificate{}, nil, "didn't provide a certificate"},
		{"expired", pki.Issue("alice", x509.ExtKeyUsageClientAuth, func(c *x509.Certificate) {
			c.NotAfter = ovpntest.Epoch().Add(-time.Hour)
		}), nil, "expired"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m, err := NewMutual(pki.CA(), tc.crl, now)
			if err != nil {
				t.Fatal(err)
			}
			server := pki.ServerTLS()
			server.Time = now
			m.Configure(server)
			state, err := handshake(t, server, tc.cert)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("%v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := m.Check(context.Background(), Credentials{TLS: state})
			if a, ok := got.(Accepted); err != nil || !ok || a.Identity.Name() != "alice" {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
}

// A list that arrives while a client is connected refuses it at the next check.
func TestCheckAgain(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	now := func() time.Time { return ovpntest.Epoch() }
	bob := pki.Issue("bob", x509.ExtKeyUsageClientAuth, nil)
	before, err := NewMutual(pki.CA(), nil, now)
	if err != nil {
		t.Fatal(err)
	}
	server := pki.ServerTLS()
	server.Time = now
	before.Configure(server)
	state, err := handshake(t, server, bob)
	if err != nil {
		t.Fatal(err)
	}
	after, err := NewMutual(pki.CA(), pki.CRL(ovpntest.Epoch().AddDate(1, 0, 0), bob), now)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := after.Check(context.Background(), Credentials{TLS: state}); got != (Denied{Reason: ErrRevoked.Error() + ": bob"}) {
		t.Errorf("%+v", got)
	}
	if got, _ := after.Check(context.Background(), Credentials{}); got != (Denied{Reason: "no client certificate"}) {
		t.Errorf("without TLS: %+v", got)
	}
}

func TestNewMutualRefuses(t *testing.T) {
	pki, other := ovpntest.NewPKI(t), ovpntest.NewPKI(t)
	foreign := other.CRL(ovpntest.Epoch().AddDate(1, 0, 0))
	for _, tc := range []struct {
		name    string
		ca, crl []byte
		want    string
	}{
		{"no CA", []byte("hello"), nil, "no CA certificate"},
		{"broken CA", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), nil, "certificate 1"},
		{"broken list", pki.CA(), []byte("hello"), "revocation list"},
		{"list of another authority", pki.CA(), foreign, "not signed by one of the CAs"},
	} {
		if _, err := NewMutual(tc.ca, tc.crl, time.Now); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// handshake returns what the server saw, or why it refused.
func handshake(t *testing.T, server *tls.Config, cert tls.Certificate) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer b.Close()
		c := tls.Client(b, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &cert, nil
		}})
		if c.Handshake() == nil {
			c.Read(make([]byte, 1)) // until the server has judged
		}
	}()
	s := tls.Server(a, server)
	err := s.Handshake()
	a.Close()
	<-done
	return s.ConnectionState(), err
}
