package client

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// Limits of what the administrator writes.
const (
	maxManagedProfiles = 100
	maxManagedFiles    = 1000 // in the folder of profiles, with what they refer to
)

// managedFolder is how the folder of managed profiles is called where problems name it.
const managedFolder = "profiles"

// readManaged reads all that the administrator wrote. What cannot be read stays as it was before.
func (s *Service) readManaged(before *managed) *managed {
	m := &managed{policy: DefaultPolicy(), profiles: map[string]managedProfile{}}
	trouble := func(what string, err error) {
		m.problems = append(m.problems, printable(what+": "+reasonOf(err)))
	}
	err := fs.ErrNotExist
	if s.cfg.Policy != nil {
		m.policy, m.source, err = s.cfg.Policy.read()
	}
	switch {
	case err == nil:
		m.written = true
	case errors.Is(err, fs.ErrNotExist) && !s.cfg.PolicyRequired:
		m.policy, m.written = DefaultPolicy(), false
	case before != nil && !before.broken:
		trouble(m.source, err)
		m.policy, m.source, m.written = before.policy, before.source, before.written
		m.problems = append(m.problems, "the policy of before stays in force")
	default:
		m.policy, m.written, m.broken = DefaultPolicy(), true, true
		trouble(m.source, err)
		m.problems = append(m.problems, "nothing connects until the policy can be read")
	}

	files := s.cfg.ManagedProfiles
	entries, err := readFolder(files)
	if err != nil {
		trouble(managedFolder, err)
		if before != nil {
			m.profiles = before.profiles
		}
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".ovpn")
		if !ok {
			continue
		}
		if len(m.profiles) == maxManagedProfiles {
			m.problems = append(m.problems, fmt.Sprintf("%s: there are more than %d profiles", managedFolder, maxManagedProfiles))
			break
		}
		p, err := readProfile(files, name)
		if err != nil {
			trouble(managedFolder+"/"+e.Name(), err)
			if before == nil {
				continue
			}
			if p, ok = before.profiles[name]; !ok {
				continue
			}
		}
		m.profiles[name] = p
	}
	if auto := m.policy.AutoConnect; auto != "" && !m.broken {
		p, ok := m.profiles[auto]
		switch {
		case !ok:
			m.problems = append(m.problems, fmt.Sprintf("AutoConnect: there is no managed profile %s", auto))
		case m.policy.AlwaysOn && !p.alone:
			m.problems = append(m.problems, fmt.Sprintf("AlwaysOn has no effect: %s needs a person to sign in", auto))
		}
	}
	return m
}

// reasonOf is an error in one line, without what only programs want to know.
func reasonOf(err error) string {
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Sprintf("%s: %v", at.Path, at.Err)
	}
	return err.Error()
}

// readBounded reads a file of at most limit bytes.
func readBounded(files fs.FS, name string, limit int64) ([]byte, error) {
	info, err := fs.Stat(files, name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	case info.Size() > limit:
		return nil, fmt.Errorf("it has more than %d bytes", limit)
	}
	return fs.ReadFile(files, name)
}

// readFolder lists the folder of profiles; a missing one is empty.
func readFolder(files fs.FS) ([]fs.DirEntry, error) {
	if files == nil {
		return nil, nil
	}
	entries, err := fs.ReadDir(files, ".")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(entries) > maxManagedFiles:
		return nil, fmt.Errorf("there are more than %d files", maxManagedFiles)
	}
	return entries, nil
}

// readProfile reads a managed profile with the files beside it that it names.
func readProfile(files fs.FS, name string) (managedProfile, error) {
	return readProfileFile(files, name+".ovpn", name)
}

func readProfileFile(files fs.FS, file, name string) (managedProfile, error) {
	if err := api.CheckName(name); err != nil {
		return managedProfile{}, err
	}
	text, err := readBounded(files, file, maxProfileText)
	if err != nil {
		return managedProfile{}, err
	}
	beside := func(ref string) ([]byte, error) {
		if ref = strings.TrimPrefix(ref, "./"); strings.ContainsAny(ref, `/\`) || !fs.ValidPath(ref) {
			return nil, fmt.Errorf("%s is not beside the profile: %w", ref, fs.ErrNotExist)
		}
		return readBounded(files, ref, maxProfileText)
	}
	p, err := profile.Parse(name, text, beside)
	if err == nil {
		err = p.Unsupported()
	}
	if err == nil && len(p.Text()) > maxProfileText {
		err = fmt.Errorf("with its files it has more than %d bytes", maxProfileText)
	}
	if err != nil {
		return managedProfile{}, err
	}
	out := managedProfile{alone: p.AuthKind() == "certificate"}
	out.record = record{Name: name, Managed: true, Notes: notesOf(p), Text: p.Text()}
	if info, err := fs.Stat(files, file); err == nil {
		out.Imported = info.ModTime().UTC().Truncate(time.Second)
	}
	return out, nil
}

// ReadManagedProfile reads a profile as a managed one is read, from a file whose name ends in .ovpn and the files beside it: its text with
// all of them in it.
func ReadManagedProfile(files fs.FS, file string) (text string, err error) {
	end := len(file) - len(".ovpn")
	if end < 0 || !strings.EqualFold(file[end:], ".ovpn") {
		return "", errors.New("its name does not end in .ovpn")
	}
	p, err := readProfileFile(files, file, file[:end])
	return p.Text, err
}

// mark is how a file looked, to see whether it is another one.
type mark struct {
	name string
	info fs.FileInfo // nil: it cannot be read, or is no file
	text string      // why, or what is there
}

// markOf is that of a file.
func markOf(files fs.FS, name string) mark {
	info, err := fs.Stat(files, name)
	if err != nil {
		return mark{name: name, text: err.Error()}
	}
	return mark{name: name, info: info}
}

// marks are those of all that readManaged reads.
func (s *Service) marks() []mark {
	var out []mark
	if s.cfg.Policy != nil {
		out = append(out, s.cfg.Policy.marks()...)
	}
	entries, err := readFolder(s.cfg.ManagedProfiles)
	if err != nil {
		out = append(out, mark{name: managedFolder, text: err.Error()})
	}
	for _, e := range entries {
		out = append(out, markOf(s.cfg.ManagedProfiles, e.Name()))
	}
	return out
}

func (m mark) equal(o mark) bool {
	if m.name != o.name || m.text != o.text || (m.info == nil) != (o.info == nil) {
		return false
	}
	return m.info == nil || os.SameFile(m.info, o.info) && m.info.Size() == o.info.Size() &&
		m.info.ModTime().Equal(o.info.ModTime()) && m.info.Mode() == o.info.Mode()
}
