package client

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/seal"
)

// Limits of the store, so that one user cannot fill the disk of all.
const (
	maxProfileText     = 1 << 20 // bytes of one profile
	maxProfilesPerUser = 200
)

// key names one profile of one user: everything that the service keeps hangs on it.
type key struct {
	owner string // an ipc.Account; names may be given to others later
	name  string
}

// ownerOf is the owner key of a caller.
func ownerOf(c api.Caller) string { return string(c.Account) }

// record is one stored profile, as in its file.
type record struct {
	Name      string       `json:"name"`
	OwnerName string       `json:"owner_name"`
	Managed   bool         `json:"managed,omitempty"`
	Imported  time.Time    `json:"imported"`
	Notes     []string     `json:"notes"`
	Settings  api.Settings `json:"settings"`
	Text      string       `json:"text"`

	kept, keptSettings unknown // of a later version
}

// wish is a connection that somebody wants. It holds no secrets.
type wish struct {
	Owner     string `json:"owner"`
	OwnerName string `json:"owner_name"`
	Profile   string `json:"profile"`
	// Person is the owner key of who wants a managed profile; empty: nobody, the policy does.
	Person string `json:"person,omitempty"`
	// Auto says that it began by itself: nobody asked for it.
	Auto bool `json:"auto,omitempty"`
}

// key is that of the profile.
func (w wish) key() key { return key{w.Owner, w.Profile} }

// person is the owner key of who wants it; empty: nobody does.
func (w wish) person() string {
	if w.Owner == managedOwner {
		return w.Person
	}
	return w.Owner
}

// store keeps profiles, settings and wishes in the state directory:
//
//	users/<account>/profile-<name>.json   one record each
//	users/<account>/managed.json          personal: what the user chose for managed profiles
//	wishes.json                       wishes
//	servers.json                      where servers were reached last
//
// Each has the version of its form. What a later version has added to a form is kept; a form that is later than ours is neither read nor
// written, but for wishes, which are put aside. Files are replaced whole (write, fsync, rename, fsync of the directory). It reads
// everything once; from then on memory is the truth and files follow it. With a sealer, records are sealed: one that is not, of an older
// version, is read all the same.
// Safe for concurrent use.
type store struct {
	dir    string
	sealer seal.Sealer // nil: there is none

	mu       sync.Mutex
	profiles map[key]record
	saved    map[key]bool // owner and managed profile: the person wants the password to be saved
	wishes   []wish
	servers  []reachedServer
	// Of later versions: profiles, and what we do not know of wishes, of servers and of users' personal.
	later       map[key]bool
	keptWishes  keptWishes
	keptServers unknown            // nil: the whole is later than ours
	personal    map[string]unknown // the same
}

// openStore reads dir, making it when missing. A file that cannot be read is
// moved aside with one message and does not stop the others.
func openStore(dir string, sealer seal.Sealer, log *slog.Logger) (*store, error) {
	if err := os.MkdirAll(filepath.Join(dir, "users"), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	s := &store{dir: dir, sealer: sealer, profiles: map[key]record{}, saved: map[key]bool{}, later: map[key]bool{}, personal: map[string]unknown{}}
	users, err := os.ReadDir(filepath.Join(dir, "users"))
	if err != nil {
		return nil, fmt.Errorf("read state directory: %w", err)
	}
	for _, u := range users {
		if !ipc.Account(u.Name()).Valid() || !u.IsDir() {
			continue
		}
		if err := durable.Sweep(filepath.Join(dir, "users", u.Name())); err != nil {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		files, err := os.ReadDir(filepath.Join(dir, "users", u.Name()))
		if err != nil {
			return nil, fmt.Errorf("read profiles: %w", err)
		}
		for _, f := range files {
			path := filepath.Join(dir, "users", u.Name(), f.Name())
			if f.Name() == personalFile {
				var choices personal
				kept, err := readForm(path, &choices)
				switch {
				case errors.Is(err, errLater):
					log.Error("left alone: a later version of Adit has written it", "file", path, ownerKey, u.Name())
					s.personal[u.Name()] = nil
				case err != nil:
					moveAside(log.With(ownerKey, u.Name()), path, err)
				default:
					s.personal[u.Name()] = kept
				}
				for _, name := range choices.SavePassword {
					s.saved[key{u.Name(), name}] = true
				}
				continue
			}
			name, isProfile := strings.CutPrefix(f.Name(), "profile-")
			name, isJSON := strings.CutSuffix(name, ".json")
			if !isProfile || !isJSON {
				continue
			}
			var r record
			err := s.readRecord(path, &r)
			if errors.Is(err, errLater) {
				log.Error("left alone: a later version of Adit has written it", "file", path, ownerKey, u.Name())
				s.later[key{u.Name(), name}] = true
				continue
			}
			if err == nil && (r.Name != name || api.CheckName(name) != nil) {
				err = fmt.Errorf("it holds profile %q", r.Name)
			}
			if err != nil {
				moveAside(log.With(ownerKey, u.Name()), path, err)
				continue
			}
			s.profiles[key{u.Name(), name}] = r
		}
	}
	path := filepath.Join(dir, "wishes.json")
	if s.wishes, s.keptWishes, err = readWishes(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		moveAside(log, path, err)
	}
	s.readServers(log)
	return s, nil
}

// personalFile holds a user's personal.
const personalFile = "managed.json"

// personal is what a user chose for managed profiles, as in its file.
type personal struct {
	SavePassword []string `json:"save_password"` // for these profiles
}

// saves says whether a user wants the password of a managed profile to be saved.
func (s *store) saves(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saved[k]
}

// save records that. A user has no more such wishes than profiles of one's own.
func (s *store) save(k key, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.saved[k] == on {
		return nil
	}
	kept, there := s.personal[k.owner]
	if there && kept == nil {
		return storeProblem(k.name, errLater)
	}
	next := personal{SavePassword: []string{}}
	for o := range s.saved {
		if o.owner == k.owner && o.name != k.name {
			next.SavePassword = append(next.SavePassword, o.name)
		}
	}
	if on && len(next.SavePassword) >= maxProfilesPerUser {
		return api.NewProblem(api.CodeProfileStoreError, map[string]string{
			"profile": k.name, "detail": fmt.Sprintf("you have %d profiles already", len(next.SavePassword))})
	}
	if on {
		next.SavePassword = append(next.SavePassword, k.name)
	}
	slices.Sort(next.SavePassword)
	dir, err := s.folder(k)
	if err != nil {
		return storeProblem(k.name, err)
	}
	if err := writeForm(filepath.Join(dir, personalFile), next, kept); err != nil {
		return storeProblem(k.name, err)
	}
	if on {
		s.saved[k] = true
	} else {
		delete(s.saved, k)
	}
	return nil
}

func notFound(name string) error {
	return api.NewProblem(api.CodeProfileNotFound, map[string]string{"profile": name})
}

// get returns one profile of one owner.
func (s *store) get(k key) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.profiles[k]
	if !ok {
		return record{}, s.missingLocked(k)
	}
	return r, nil
}

// missingLocked says why a profile is not there.
func (s *store) missingLocked(k key) error {
	if s.later[k] {
		return storeProblem(k.name, errLater)
	}
	return notFound(k.name)
}

// isLater says whether a Host's name is that of a profile which a later version has written.
func (s *store) isLater(host string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.later {
		if hostOf(k) == host {
			return true
		}
	}
	return false
}

// list returns an owner's profiles by name.
func (s *store) list(owner string) []record {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []record
	for k, r := range s.profiles {
		if k.owner == owner {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// put stores a new profile, or with replace another text in place of an old one, whose
// settings stay.
func (s *store) put(owner string, r record, replace bool) (record, error) {
	if err := api.CheckName(r.Name); err != nil {
		return record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{owner, r.Name}
	old, there := s.profiles[k]
	if there && !replace {
		return record{}, api.NewProblem(api.CodeProfileExists, map[string]string{"profile": r.Name})
	}
	if there {
		r.Settings, r.kept, r.keptSettings = old.Settings, old.kept, old.keptSettings
	} else if err := s.roomLocked(k); err != nil {
		return record{}, err
	}
	return r, s.writeLocked(k, r)
}

// update changes one profile's record in place.
func (s *store) update(k key, change func(*record) error) (record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.profiles[k]
	if !ok {
		return record{}, s.missingLocked(k)
	}
	r.Settings = cloneSettings(r.Settings)
	if err := change(&r); err != nil {
		return record{}, err
	}
	return r, s.writeLocked(k, r)
}

// copy gives a profile another name, too.
func (s *store) copy(k key, to string) error {
	if err := api.CheckName(to); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.profiles[k]
	if !ok {
		return s.missingLocked(k)
	}
	next := key{k.owner, to}
	if twin, there := s.twinLocked(next); there {
		return api.NewProblem(api.CodeProfileExists, map[string]string{"profile": twin})
	}
	r.Name = to
	return s.writeLocked(next, r)
}

// remove deletes a profile.
func (s *store) remove(k key) error { return s.bequeath(k, "") }

// bequeath deletes a profile; what is known of its servers is from then on the owner's profile to's, empty for nobody's.
func (s *store) bequeath(k key, to string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.profiles[k]; !ok {
		return s.missingLocked(k)
	}
	if err := s.removeLocked(k); err != nil {
		return err
	}
	_ = s.moveServersLocked(k, to) // the profile is gone; what is left names addresses alone, and what is lost is found again
	return nil
}

// wanted returns the wishes, oldest first.
func (s *store) wanted() []wish {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.wishes)
}

// wants says whether a profile is among them.
func (s *store) wants(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.wishes, func(w wish) bool { return w.key() == k })
}

// want records or, with on false, forgets a wish.
func (s *store) want(w wish, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := func(o wish) bool { return o.Owner == w.Owner && o.Profile == w.Profile }
	if i := slices.IndexFunc(s.wishes, same); (i >= 0) == on && (i < 0 || s.wishes[i].Person == w.Person && s.wishes[i].Auto == w.Auto) {
		return nil
	}
	next := slices.DeleteFunc(slices.Clone(s.wishes), same)
	if on {
		next = append(next, w)
	}
	text, err := formatWishes(next, s.keptWishes)
	if err == nil {
		err = durable.Write(filepath.Join(s.dir, "wishes.json"), text, 0o600)
	}
	if err != nil {
		return storeProblem(w.Profile, err)
	}
	s.wishes = next
	if !on {
		delete(s.keptWishes.each, w.key())
	}
	return nil
}

// twinLocked finds a profile whose name is that of k or differs only in case, which
// some file systems cannot hold beside it.
func (s *store) twinLocked(k key) (name string, there bool) {
	for _, names := range []iter.Seq[key]{maps.Keys(s.profiles), maps.Keys(s.later)} {
		for o := range names {
			if o.owner == k.owner && strings.EqualFold(o.name, k.name) {
				return o.name, true
			}
		}
	}
	return "", false
}

// roomLocked refuses one profile too many, and a name that is taken.
func (s *store) roomLocked(k key) error {
	if twin, there := s.twinLocked(k); there {
		return api.NewProblem(api.CodeProfileExists, map[string]string{"profile": twin})
	}
	n := 0
	for o := range s.profiles {
		if o.owner == k.owner {
			n++
		}
	}
	if n >= maxProfilesPerUser {
		return api.NewProblem(api.CodeProfileStoreError, map[string]string{
			"profile": k.name, "detail": fmt.Sprintf("you have %d profiles already", n)})
	}
	return nil
}

func (s *store) path(k key) string {
	return filepath.Join(s.dir, "users", k.owner, "profile-"+k.name+".json")
}

// folder makes the folder of k's owner.
func (s *store) folder(k key) (string, error) {
	if !ipc.Account(k.owner).Valid() {
		return "", fmt.Errorf("%q is no account", k.owner)
	}
	dir := filepath.Join(s.dir, "users", k.owner)
	return dir, os.MkdirAll(dir, 0o700)
}

func (s *store) writeLocked(k key, r record) error {
	if _, err := s.folder(k); err != nil {
		return storeProblem(k.name, err)
	}
	if err := s.writeRecord(s.path(k), r); err != nil {
		return storeProblem(k.name, err)
	}
	s.profiles[k] = r
	return nil
}

func (s *store) removeLocked(k key) error {
	if err := os.Remove(s.path(k)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storeProblem(k.name, err)
	}
	delete(s.profiles, k)
	return nil
}

// storeProblem words a file error without the path, which is the service's own business.
func storeProblem(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return api.NewProblem(api.CodeProfileStoreError, map[string]string{"profile": name, "detail": err.Error()})
}

// moveAside keeps an unreadable file for a person to look at.
func moveAside(log *slog.Logger, path string, cause error) {
	aside := path + ".broken-" + time.Now().UTC().Format("20060102T150405")
	if err := os.Rename(path, aside); err != nil {
		log.Error("a state file cannot be read, and not be moved aside", "file", path, errorKey, cause, "rename", err)
		return
	}
	log.Error("a state file cannot be read and was moved aside", "file", path, "to", filepath.Base(aside), errorKey, cause)
}

func cloneSettings(s api.Settings) api.Settings {
	s.RouteAdd = slices.Clone(s.RouteAdd)
	s.RouteRemove = slices.Clone(s.RouteRemove)
	s.PullFilter = slices.Clone(s.PullFilter)
	return s
}

// automatic returns a wish for each profile whose owner set auto_connect.
func (s *store) automatic() []wish {
	out := s.those(func(x api.Settings) bool { return x.AutoConnect })
	for i := range out {
		out[i].Auto = true
	}
	return out
}

// locked returns a wish for each profile whose guard is always closed.
func (s *store) locked() []wish {
	return s.those(func(x api.Settings) bool { return x.Guard == guardLockdown })
}

// those are wishes for the profiles whose settings fit, in a fixed order.
func (s *store) those(fit func(api.Settings) bool) []wish {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []wish
	for k, r := range s.profiles {
		if fit(r.Settings) {
			out = append(out, wish{Owner: k.owner, OwnerName: r.OwnerName, Profile: k.name})
		}
	}
	slices.SortFunc(out, func(a, b wish) int { return strings.Compare(a.Owner+"\x00"+a.Profile, b.Owner+"\x00"+b.Profile) })
	return out
}
