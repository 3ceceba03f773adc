package pki

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

// Keys of tls-crypt-v2 lie in private/tls-crypt-v2, which easy-rsa does not know
// and leaves alone: server.key, and clients/NAME.key for each client. They
// protect the control channel only; who a client is, its certificate says.

const wrapDir = "tls-crypt-v2"

// WrapServerFile and WrapClientFile are where the keys are, or would be.
func (p *PKI) WrapServerFile() string { return p.path("private", wrapDir, "server.key") }
func (p *PKI) WrapClientFile(name string) string {
	return p.path("private", wrapDir, "clients", name+".key")
}

// WrapServer reads the server's key, or makes it when there is none.
func (p *PKI) WrapServer() (wrap.ServerKey, error) {
	unlock, err := p.wrapLock()
	if err != nil {
		return wrap.ServerKey{}, err
	}
	defer unlock()
	path := p.WrapServerFile()
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := wrap.ParseServerKey(text)
		if err != nil {
			return key, &Error{Kind: ErrCorrupt, What: path, Err: err, Hint: "restore it: all client keys depend on it"}
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return wrap.ServerKey{}, p.ioError(path, err)
	}
	key, err := wrap.GenerateServerKey(rand.Reader)
	if err != nil {
		return key, err
	}
	if err := write(path, key.Text()); err != nil {
		return key, p.ioError(path, err)
	}
	return key, nil
}

// WrapClient reads a client's key, or makes it when there is none that server
// opens and that is younger than age (0: any age). A name "" makes a key that is
// not kept.
func (p *PKI) WrapClient(name string, server wrap.ServerKey, age time.Duration) (wrap.ClientKey, error) {
	if name == "" {
		return server.NewClient(rand.Reader, wrap.TimeMetadata(p.now()))
	}
	if err := checkName(name); err != nil {
		return wrap.ClientKey{}, err
	}
	unlock, err := p.wrapLock()
	if err != nil {
		return wrap.ClientKey{}, err
	}
	defer unlock()
	path := p.WrapClientFile(name)
	text, err := os.ReadFile(path)
	if err == nil {
		if key, err := wrap.ParseClientKey(text); err == nil {
			if m, err := server.Open(key); err == nil && (age == 0 || !m.Expired(p.now(), age)) {
				return key, nil
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return wrap.ClientKey{}, p.ioError(path, err)
	}
	key, err := server.NewClient(rand.Reader, wrap.TimeMetadata(p.now()))
	if err != nil {
		return key, err
	}
	if err := write(path, key.Text()); err != nil {
		return key, p.ioError(path, err)
	}
	return key, nil
}

// WrapNames are the names of the client keys that are kept, by their ID. Files that hold no key are left out.
func (p *PKI) WrapNames() (map[string]string, error) {
	dir := filepath.Dir(p.WrapClientFile("x"))
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, p.ioError(dir, err)
	}
	names := map[string]string{}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".key")
		if !ok || !e.Type().IsRegular() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, p.ioError(dir, err)
		}
		if key, err := wrap.ParseClientKey(text); err == nil {
			names[key.ID()] = name
		}
	}
	return names, nil
}

// dropWrapClient forgets a client's key; the next one is new. Anyone who has the
// old one may still begin a handshake.
func (p *PKI) dropWrapClient(name string) error {
	path := p.WrapClientFile(name)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return p.ioError(path, err)
	}
	return nil
}

// wrapLock takes the lock of a directory that may not be there yet.
func (p *PKI) wrapLock() (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(p.WrapServerFile()), 0o700); err != nil {
		return nil, p.ioError(p.dir, err)
	}
	return p.lock()
}
