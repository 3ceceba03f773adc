package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/durable"
)

// fileMark is the first line of a resolv.conf of ours.
const fileMark = "# Made by Adit for a tunnel. The file that was here comes back when the tunnel ends.\n"

// resolvFile rewrites resolv.conf itself, where nobody else keeps it.
type resolvFile struct{ log *slog.Logger }

// prepare saves what is there, also when another program has put its own file over ours meanwhile:
// then that one is what comes back.
func (*resolvFile) prepare(_ context.Context, s *dnsState) error {
	if s.File != nil && s.File.ours() {
		return nil
	}
	saved, err := saveFile(filepath.Join(s.Etc, "resolv.conf"))
	if err != nil {
		return err
	}
	s.File = saved
	return nil
}

func (*resolvFile) text(s *dnsState) []byte {
	d, _ := s.plain()
	return append([]byte(fileMark), resolvConfText(d, s.File.Data)...)
}

func (m *resolvFile) enforce(_ context.Context, s *dnsState) error {
	return writeConf(s.File.Path, m.text(s), 0o644)
}

func (m *resolvFile) inForce(_ context.Context, s *dnsState) bool {
	if s.File == nil {
		return false
	}
	text, err := os.ReadFile(s.File.Path)
	return err == nil && bytes.Equal(text, m.text(s))
}

func (m *resolvFile) forget(ctx context.Context, s *dnsState, _ tunnelDNS) (bool, error) {
	switch {
	case s.File == nil:
		return false, nil
	case len(s.Tunnels) == 0:
		left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.File.Path), ".resolv.conf.adit-*"))
		for _, path := range left {
			os.Remove(path) // of a writer that was killed
		}
		return s.File.restore(m.log)
	case !s.File.ours():
		return false, nil // somebody else's by now; whoever is left takes it as its own ground
	}
	return true, m.enforce(ctx, s)
}

func (*resolvFile) outside(_ context.Context, s *dnsState) ([]netip.Addr, error) {
	if s.File != nil && s.File.ours() {
		return nameservers(s.File.Data), nil
	}
	text, err := os.ReadFile(filepath.Join(s.Etc, "resolv.conf"))
	return nameservers(text), but(err, fs.ErrNotExist)
}

// savedFile is resolv.conf as it was before us.
type savedFile struct {
	Path   string      `json:"path"`
	Absent bool        `json:"absent,omitempty"` // there was no file
	Link   string      `json:"link,omitempty"`   // it was a symbolic link to this
	Data   []byte      `json:"data,omitempty"`   // its content, also through the link
	Mode   fs.FileMode `json:"mode,omitempty"`
	UID    int         `json:"uid,omitempty"`
	GID    int         `json:"gid,omitempty"`
}

// saveFile reads what is there. It refuses a file of ours whose record is elsewhere: which file was
// before it is not known here.
func saveFile(path string) (*savedFile, error) {
	s := &savedFile{Path: path}
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		s.Absent = true
		return s, nil
	} else if err != nil {
		return nil, err
	}
	switch {
	case st.Mode()&fs.ModeSymlink != 0:
		if s.Link, err = os.Readlink(path); err != nil {
			return nil, err
		}
	case !st.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", path)
	default:
		s.Mode = st.Mode().Perm()
		var sys unix.Stat_t
		if err := unix.Lstat(path, &sys); err == nil {
			s.UID, s.GID = int(sys.Uid), int(sys.Gid)
		}
	}
	s.Data, err = os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a dangling link has no content
		return nil, err
	}
	if bytes.HasPrefix(s.Data, []byte(fileMark)) {
		return nil, fmt.Errorf("%s carries the DNS of a tunnel of another Adit, or of one whose state directory is gone: put the right file there", path)
	}
	return s, nil
}

// ours reports whether the file still is the one that we made, or what a crash left of
// it: nothing or a part of the mark, where it is written in place (writeConf).
func (s *savedFile) ours() bool {
	text, err := os.ReadFile(s.Path)
	return err == nil && (strings.HasPrefix(string(text), fileMark) || strings.HasPrefix(fileMark, string(text)))
}

// restore puts back what was there, unless somebody else has changed the file since.
func (s *savedFile) restore(log *slog.Logger) (bool, error) {
	if !s.ours() {
		now, err := os.ReadFile(s.Path)
		if same := err == nil && bytes.Equal(now, s.Data) || errors.Is(err, fs.ErrNotExist) && s.Absent; !same {
			log.Warn("DNS left as it is: somebody else has changed the file since", "file", s.Path)
		}
		return false, nil
	}
	dir := filepath.Dir(s.Path)
	switch {
	case s.Absent:
		if err := os.Remove(s.Path); err != nil {
			return false, err
		}
		return true, durable.SyncDir(dir)
	case s.Link != "":
		tmp := filepath.Join(dir, ".resolv.conf.adit-link")
		os.Remove(tmp)
		if err := os.Symlink(s.Link, tmp); err != nil {
			return false, err
		}
		if err := os.Rename(tmp, s.Path); err != nil {
			os.Remove(tmp)
			return false, err
		}
		return true, durable.SyncDir(dir)
	}
	if err := writeConf(s.Path, s.Data, s.Mode); err != nil {
		return false, err
	}
	if s.UID != os.Geteuid() || s.GID != os.Getegid() {
		if err := os.Lchown(s.Path, s.UID, s.GID); err != nil {
			return true, err
		}
	}
	return true, nil
}

// writeConf replaces path at once, or in place where it is a mount of its own, as in containers, perhaps
// the only thing in a directory that may be written.
func writeConf(path string, text []byte, mode fs.FileMode) error {
	err := durable.Write(path, text, mode)
	if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EROFS) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
