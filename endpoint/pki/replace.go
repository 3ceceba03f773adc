package pki

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// replacedDir is where Replace puts what the former CAs made; easy-rsa does not know it.
const replacedDir = "replaced"

// replacingDir has the next CA while Replace makes it, and what is left to do while that one takes its place.
const (
	replacingDir = "replacing"
	replacingNew = "new"       // below it: the next CA, in the layout of the PKI
	replacingAt  = "step.json" // below it: a replacing; there as soon as the next CA is whole
)

// replacing is how far a Replace has come.
type replacing struct {
	Aside string `json:"aside"` // where the former CA goes: a name below replacedDir
	In    bool   `json:"in"`    // the former one is there, all of it: the next one moves in
}

// Replace makes another CA, and with it a certificate for each server that had one. What the former CA made goes to aside,
// clients' certificates among it: they need new ones. Settings of easy-rsa stay, and so do the keys of tls-crypt-v2, so that
// a client with an old profile gets an answer that says what is wrong. Until the next CA is whole nothing of the former one is
// touched. A Replace that was interrupted after that is finished by the next call that changes anything, or by Recover.
func (p *PKI) Replace(o Options) (aside string, servers []Certificate, err error) {
	now := p.now().UTC()
	if o.CommonName == "" { // another one than before: people shall see the difference
		o.CommonName = "Adit CA of " + now.Format("2006-01-02 15:04:05")
	}
	if err := o.check(); err != nil {
		return "", nil, err
	}
	if _, err := p.readCA(); err != nil && !p.beingReplaced() { // before the lock, which needs the directory
		return "", nil, err
	}
	unlock, err := p.hold()
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	if aside, err = p.finish(); err == nil && aside == "" { // else this was asked for before, and is done now
		if err = p.prepareNext(o, now.Format("20060102T150405Z")); err == nil {
			aside, err = p.finish()
		}
	}
	if err != nil {
		return "", nil, err
	}
	made, err := p.serverCertificates()
	if err != nil {
		return aside, nil, err
	}
	for _, name := range sortedNames(made) {
		c, err := p.describe(name)
		if err != nil {
			return aside, servers, err
		}
		servers = append(servers, c)
	}
	return aside, servers, nil
}

// Recover finishes a change that was interrupted. When there is none it does nothing.
func (p *PKI) Recover() error {
	if !p.beingReplaced() && !p.beingWritten() {
		return nil
	}
	unlock, err := p.lock()
	if err == nil {
		unlock()
	}
	return err
}

// beingReplaced says whether a Replace was interrupted when nothing but moving was left to do.
func (p *PKI) beingReplaced() bool { return exists(p.path(replacingDir, replacingAt)) }

// prepareNext makes the next CA with its servers beside the one in force. It is whole as soon as the step is written.
func (p *PKI) prepareNext(o Options, aside string) error {
	old, err := p.serverCertificates()
	if err != nil {
		return err
	}
	next := &PKI{dir: p.path(replacingDir, replacingNew), now: p.now}
	if err := os.RemoveAll(p.path(replacingDir)); err != nil { // of one that did not come so far
		return p.ioError(p.path(replacingDir), err)
	}
	if err := next.init(o); err != nil {
		return err
	}
	for _, name := range sortedNames(old) {
		so := Options{}
		so.inherit(old[name])
		files, err := next.sign(kindOf(old[name]), name, old[name].RawSubject, so)
		if err == nil {
			err = next.writeAll(files)
		}
		if err != nil {
			return err
		}
	}
	for exists(p.path(replacedDir, aside)) {
		aside += "x"
	}
	return p.writeStep(replacing{Aside: aside})
}

func (p *PKI) writeStep(r replacing) error {
	text, err := json.Marshal(r)
	if err == nil {
		err = write(p.path(replacingDir, replacingAt), text)
	}
	if err != nil {
		return p.ioError(p.path(replacingDir, replacingAt), err)
	}
	return nil
}

// finish moves the former CA away and the next one in, as far as that is not done; aside is empty when there was nothing to do.
// Every step may be repeated. With the lock held.
func (p *PKI) finish() (aside string, err error) {
	text, err := os.ReadFile(p.path(replacingDir, replacingAt))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var r replacing
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err == nil && checkName(r.Aside) != nil {
		err = errors.New("no name of a directory")
	}
	if err != nil {
		return "", p.ioError(p.path(replacingDir, replacingAt), err)
	}
	aside = p.path(replacedDir, r.Aside)
	if !r.In {
		if err := p.moveCA(p.dir, aside); err != nil {
			return "", err
		}
		r.In = true
		if err := p.writeStep(r); err != nil {
			return "", err
		}
	}
	if err := p.moveCA(p.path(replacingDir, replacingNew), p.dir); err != nil {
		return "", err
	}
	if err := os.Remove(p.path(replacingDir, replacingAt)); err != nil { // first: without it the rest means nothing
		return "", p.ioError(p.path(replacingDir, replacingAt), err)
	}
	if err := os.RemoveAll(p.path(replacingDir)); err != nil {
		return "", p.ioError(p.path(replacingDir), err)
	}
	return aside, nil
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

// moveCA moves what belongs to a CA from one directory to another, as far as it is still there. The CA's certificate goes last:
// its presence says that the rest is there.
func (p *PKI) moveCA(from, to string) error {
	keys, err := os.ReadDir(filepath.Join(from, "private"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.ioError(filepath.Join(from, "private"), err)
	}
	parts := []string{"renewed", "revoked", "certs_by_serial", "reqs", "crl.pem", "serial", "serial.old", "index.txt", "index.txt.old",
		"index.txt.attr", "index.txt.attr.old"}
	for _, k := range keys {
		if k.Name() != wrapDir {
			parts = append(parts, filepath.Join("private", k.Name()))
		}
	}
	for _, part := range append(parts, "issued", "ca.crt") {
		if err := move(filepath.Join(from, part), filepath.Join(to, part)); err != nil {
			return p.ioError(filepath.Join(from, part), err)
		}
	}
	return nil
}
