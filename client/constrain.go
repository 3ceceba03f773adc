package client

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"slices"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// What the policy says about a server: its name before anything is sent there, TLS and its root certificate in each
// handshake, also in later ones of the same session.

// refusedServer is the Problem of a server that the policy does not admit.
func refusedServer(host, why string) *api.Problem {
	return api.NewProblem(api.CodeServerNotAllowed, map[string]string{"server": host, "detail": why})
}

// admits says why no connection to host may be made, or nil.
func (p Policy) admits(host string) error {
	if !p.allowsServer(host) {
		return refusedServer(host, "it is not one of AllowedServers")
	}
	return nil
}

// tlsVersion is MinimumTLS as crypto/tls has it.
func (p Policy) tlsVersion() uint16 {
	if p.MinimumTLS == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

// constrain makes handshakes with the server of the moment keep to the policy.
func (c *connection) constrain(cfg *tls.Config) error {
	host, least := c.remotes.current().host, c.rules().tlsVersion()
	cfg.MinVersion = max(cfg.MinVersion, least)
	if cfg.MaxVersion != 0 && cfg.MaxVersion < least {
		return refusedServer(host, "the profile's tls-version-max is older than MinimumTLS")
	}
	verify := cfg.VerifyConnection
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if verify != nil {
			if err := verify(cs); err != nil {
				return err
			}
		}
		rules := c.rules() // of now: the session may be old
		switch {
		case cs.Version < rules.tlsVersion():
			return refusedServer(host, "its TLS is older than MinimumTLS")
		case rules.limitsCAs() && !leads(cs.PeerCertificates, c.spec.ca, rules.AllowedCAs, time.Now()):
			return refusedServer(host, "its certificate leads to none of AllowedCAs")
		}
		return rules.admits(host)
	}
	return nil
}

// leads says whether a server's chain of certificates ends in one of the profile's own CAs that is also one of those
// with the fingerprints (SHA-256, lower-case hex digits).
func leads(chain []*x509.Certificate, cas []byte, fingerprints []string, now time.Time) bool {
	if len(chain) == 0 {
		return false
	}
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // the profile's own check is stricter
	}
	for _, cert := range chain[1:] {
		opts.Intermediates.AddCert(cert)
	}
	for block, rest := pem.Decode(cas); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // such as a key; the profile's own check has taken the others
		}
		sum := sha256.Sum256(cert.Raw)
		if slices.Contains(fingerprints, hex.EncodeToString(sum[:])) {
			opts.Roots.AddCert(cert)
		} else {
			opts.Intermediates.AddCert(cert)
		}
	}
	_, err := chain[0].Verify(opts)
	return err == nil
}
