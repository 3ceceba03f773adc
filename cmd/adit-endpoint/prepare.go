package main

import (
	"log/slog"
	"path/filepath"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/platform/durable"
)

// preparePKI makes what is missing of the endpoint's own PKI, when it is used,
// and writes the client's profile. It says whether there is such a profile.
func preparePKI(cfg *endpoint.Config, log *slog.Logger) (ownClient bool, err error) {
	if err := prepareAPI(cfg); err != nil || len(cfg.Listen) == 0 { // without Listen, all endpoints are the API's
		return false, err
	}
	mutual, _, _ := cfg.Methods()
	ownCA := mutual != nil && mutual.CA == ""
	ownServer := cfg.ServerCertificate.Cert == ""
	ownWrap := cfg.ControlWrap.Type == "tls-crypt-v2" && cfg.ControlWrap.Key == ""
	if !ownCA && !ownServer && !ownWrap {
		return false, nil
	}
	p, err := openWhole(cfg)
	if err != nil {
		return false, err
	}
	if ownWrap {
		if _, err := p.WrapServer(); err != nil {
			return false, err
		}
	}
	if !ownCA && !ownServer {
		return false, nil
	}
	if _, err := makeMissing(p, ownServer); err != nil {
		return false, err
	}
	if mutual == nil {
		return true, writeProfile(cfg)
	}
	if !ownCA {
		return false, nil
	}
	list, err := p.List()
	if err != nil {
		return false, err
	}
	any := false
	var own *pki.Certificate // the newest one of our client, with its files in place
	for i, c := range list {
		any = any || c.Kind == pki.KindClient
		if c.Name == clientName && c.CertFile == p.CertFile(clientName) {
			own = &list[i]
		}
	}
	switch {
	case !any:
		if _, err := p.Client(clientName, pki.Options{}); err != nil {
			return false, err
		}
	case own == nil: // people made others, or revoked ours
		return false, nil
	case own.Status == pki.StatusRevoked:
		log.Warn("no profile: the client certificate is revoked", "name", clientName, "hint", "adit-endpoint pki client NAME")
		return false, nil
	case own.Status == pki.StatusExpired:
		log.Warn("no profile: the client certificate has expired", "name", clientName, "hint", "adit-endpoint pki renew "+clientName)
		return false, nil
	}
	return true, writeProfile(cfg)
}

// prepareAPI makes the certificates that the API's names stand for, when they are the endpoint's own, and one for a client.
func prepareAPI(cfg *endpoint.Config) error {
	if !cfg.OwnAPICertificates() {
		return nil
	}
	p, err := openWhole(cfg)
	if err != nil {
		return err
	}
	fresh, err := makeMissing(p, true)
	if err == nil && fresh {
		_, err = p.Client(clientName, pki.Options{})
	}
	return err
}

// openWhole opens the endpoint's own PKI, and finishes what an interrupted replacement of its CA has left.
func openWhole(cfg *endpoint.Config) (*pki.PKI, error) {
	p, err := pki.Open(filepath.Join(cfg.DataDir(), "pki"))
	if err != nil {
		return nil, err
	}
	return p, p.Recover()
}

// makeMissing makes a CA where there is none, which fresh says, and the server's certificate, if that is wanted.
func makeMissing(p *pki.PKI, server bool) (fresh bool, err error) {
	if fresh = !p.Exists(); fresh {
		if err := p.Init(pki.Options{}); err != nil {
			return fresh, err
		}
	}
	if server && !fileExists(p.CertFile(endpoint.ServerName)) {
		_, err = p.Server(endpoint.ServerName, pki.Options{})
	}
	return fresh, err
}

// writeProfile leaves the client's profile in the data directory.
func writeProfile(cfg *endpoint.Config) error {
	text, err := profileText(cfg, cfg.DataDir(), clientName)
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(cfg.DataDir(), profileName), text, 0o600)
}
