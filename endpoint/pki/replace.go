package pki

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// replacedDir is where Replace puts what the former CAs made; easy-rsa does not know it.
const replacedDir = "replaced"

// Replace makes another CA, and with it a certificate for each server that had one. What the former CA made goes to aside,
// clients' certificates among it: they need new ones. Settings of easy-rsa stay, and so do the keys of tls-crypt-v2, so that
// a client with an old profile gets an answer that says what is wrong. A Replace that was interrupted can be repeated.
func (p *PKI) Replace(o Options) (aside string, servers []Certificate, err error) {
	now := p.now().UTC()
	if o.CommonName == "" { // another one than before: people shall see the difference
		o.CommonName = "Adit CA of " + now.Format("2006-01-02 15:04:05")
	}
	if err := o.check(); err != nil {
		return "", nil, err
	}
	if _, err := p.readCA(); err != nil { // before the lock, which needs the directory
		return "", nil, err
	}
	unlock, err := p.lock()
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	old, err := p.serverCertificates()
	if err != nil {
		return "", nil, err
	}
	if aside, err = p.putAside(now.Format("20060102T150405Z")); err != nil {
		return "", nil, err
	}
	if err := p.init(o); err != nil {
		return aside, nil, err
	}
	for _, name := range sortedNames(old) {
		so := Options{}
		so.inherit(old[name])
		files, err := p.sign(kindOf(old[name]), name, old[name].RawSubject, so)
		if err == nil {
			err = p.writeAll(files)
		}
		if err != nil {
			return aside, servers, err
		}
		c, err := p.describe(name)
		if err != nil {
			return aside, servers, err
		}
		servers = append(servers, c)
	}
	return aside, servers, nil
}

// serverCertificates are the current ones, by name.
func (p *PKI) serverCertificates() (map[string]*x509.Certificate, error) {
	files, err := filepath.Glob(p.path("issued", "*.crt"))
	if err != nil {
		return nil, p.ioError(p.path("issued"), err)
	}
	found := map[string]*x509.Certificate{}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".crt")
		if checkName(name) != nil {
			continue
		}
		cert, err := p.readCert(name)
		if err != nil {
			return nil, err
		}
		if kind := kindOf(cert); kind == KindServer || kind == KindBoth {
			found[name] = cert
		}
	}
	return found, nil
}

func sortedNames(of map[string]*x509.Certificate) []string {
	var names []string
	for name := range of {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// putAside moves what belongs to the CA into a directory of that name. The CA's certificate goes last: while it is there, it
// can be repeated.
func (p *PKI) putAside(name string) (string, error) {
	to := p.path(replacedDir, name)
	for exists(to) {
		to += "x"
	}
	keys, err := os.ReadDir(p.path("private"))
	if err != nil {
		return "", p.ioError(p.path("private"), err)
	}
	parts := []string{"renewed", "revoked", "certs_by_serial", "reqs", "crl.pem", "serial", "serial.old", "index.txt", "index.txt.old",
		"index.txt.attr", "index.txt.attr.old"}
	for _, k := range keys {
		if k.Name() != wrapDir {
			parts = append(parts, filepath.Join("private", k.Name()))
		}
	}
	for _, part := range append(parts, "issued", "ca.crt") {
		if err := move(p.path(part), filepath.Join(to, part)); err != nil {
			return "", p.ioError(p.path(part), err)
		}
	}
	return to, nil
}
