// Package instance lets one instance of the app run for each person: a later one hands what it was asked for to the
// first.
package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/lock"
)

// Request is what an instance was started for.
type Request struct {
	Open   []string `json:"open"` // files by their whole names, https addresses
	Hidden bool     `json:"hidden"`
}

const (
	maxRequest   = 64 << 10 // bytes
	instanceTime = 5 * time.Second
)

// Instance is the first one: it holds the lock, and listens.
type Instance struct {
	held *lock.File
	ln   net.Listener // nil: there is no socket
}

// Dir is a directory of the person's own, for what runs. It is made if it is not there.
func Dir() (string, error) {
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(cache, "adit")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return dir, lock.Private(dir)
}

// First makes this the first instance in dir; or hands r to the one that is, and returns nil. Where no socket can be
// made, such as where its path is too long, it is the first all the same, and a later one's error says that it runs.
func First(dir string, r Request) (*Instance, error) {
	held, err := lock.Take(filepath.Join(dir, "adit-gui.lock"))
	if errors.Is(err, lock.ErrHeld) {
		return nil, handOver(filepath.Join(dir, "adit-gui.sock"), r)
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "adit-gui.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		held.Close()
		return nil, err
	}
	ln, err := ipc.Listen(path, 0o600)
	if err != nil {
		return &Instance{held: held}, nil
	}
	return &Instance{held: held, ln: ln}, nil
}

// Close lets another one be the first.
func (i *Instance) Close() {
	if i.ln != nil {
		i.ln.Close()
	}
	i.held.Close()
}

// Serve hands requests to do, one after the other, until ctx ends.
func (i *Instance) Serve(ctx context.Context, do func(Request)) {
	if i.ln == nil {
		<-ctx.Done()
		return
	}
	defer context.AfterFunc(ctx, func() { i.ln.Close() })()
	for {
		c, err := i.ln.Accept()
		if err != nil {
			return
		}
		if r, err := receive(c); err == nil {
			do(r)
		}
		c.Close()
	}
}

func receive(c net.Conn) (r Request, err error) {
	if err := c.SetDeadline(time.Now().Add(instanceTime)); err != nil {
		return r, err
	}
	d := json.NewDecoder(io.LimitReader(c, maxRequest))
	if err := d.Decode(&r); err != nil {
		return r, err
	}
	for _, what := range r.Open {
		if again, err := ToOpen(what); err != nil || again != what {
			return r, fmt.Errorf("%q cannot be opened", what)
		}
	}
	_, err = c.Write([]byte("ok\n"))
	return r, err
}

// handOver gives r to the instance that runs.
func handOver(path string, r Request) error {
	ctx, stop := context.WithTimeout(context.Background(), instanceTime)
	defer stop()
	c, err := ipc.Dial(ctx, path)
	if err != nil {
		return fmt.Errorf("the app runs already, but does not answer: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(instanceTime)); err != nil {
		return err
	}
	if err := json.NewEncoder(c).Encode(r); err != nil {
		return fmt.Errorf("the app runs already, but does not listen: %w", err)
	}
	if _, err := io.ReadFull(c, make([]byte, 3)); err != nil {
		return fmt.Errorf("the app runs already, but does not answer: %w", err)
	}
	return nil
}

// importLinks is what links to profiles begin with, as OpenVPN Connect has them, and Adit's own.
func importLinks() []string { return []string{"openvpn://import-profile/", "adit://import-profile/"} }

// ToOpen makes an argument whole: a file's absolute name, also where a file manager gives it as a file: address, or the https
// address behind a link.
func ToOpen(arg string) (string, error) {
	link := false
	for _, prefix := range importLinks() {
		if rest, ok := strings.CutPrefix(arg, prefix); ok {
			arg, link = rest, true // which names no file: any page may have the link
			break
		}
	}
	if i := strings.Index(arg, "://"); link || i > 0 {
		u, err := url.Parse(arg)
		if err == nil && !link && u.Scheme == "file" && (u.Host == "" || u.Host == "localhost") && filepath.IsAbs(u.Path) {
			return filepath.Clean(u.Path), nil
		}
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return "", fmt.Errorf("%q is neither a file nor an https address of a profile", arg)
		}
		return arg, nil
	}
	if arg == "" {
		return "", errors.New("the name of the file is empty")
	}
	return filepath.Abs(arg)
}
