package client

import (
	"fmt"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// Import keeps a self-contained profile text under a name of the caller's.
func (s *Service) Import(caller api.Caller, req api.ImportRequest) (api.Profile, error) {
	if len(req.Text) > maxProfileText {
		return api.Profile{}, api.NewProblem(api.CodeProfileInvalid,
			map[string]string{"reason": fmt.Sprintf("it has more than %d bytes", maxProfileText)})
	}
	if err := checkName(req.Name); err != nil {
		return api.Profile{}, err
	}
	k := key{ownerOf(caller), req.Name}
	// Nil files: the service opens no path that a user names.
	p, err := profile.Parse(req.Name, []byte(req.Text), nil)
	if err != nil {
		return api.Profile{}, profileProblem(api.CodeProfileInvalid, err)
	}
	if s.isLive(k) {
		return api.Profile{}, api.NewProblem(api.CodeProfileInUse, map[string]string{"profile": k.name})
	}
	r, err := s.store.put(k.owner, record{
		Name: req.Name, OwnerName: caller.Name, Imported: time.Now().UTC().Truncate(time.Second),
		Notes: notesOf(p), Text: p.Text(),
	}, req.Replace)
	if err != nil {
		return api.Profile{}, err
	}
	s.log.Info("imported", profileKey, k.name, ownerKey, k.owner)
	return s.describe(k, r, p), nil
}

// notesOf are the remarks of the lint that a person should see.
func notesOf(p *profile.Profile) []string {
	notes := []string{}
	for _, d := range p.Directives {
		if d.Note == "" || len(d.Words) == 0 {
			continue
		}
		note := fmt.Sprintf("line %d: %s", d.Line, d.Words[0])
		switch d.Verdict {
		case profile.Used:
			note += ": " + d.Note
		default:
			note += fmt.Sprintf(" is %s: %s", d.Verdict, d.Note)
		}
		notes = append(notes, note)
	}
	return notes
}

// describe is what lists show of a stored profile. P may be nil when the text does not parse any more.
func (s *Service) describe(k key, r record, p *profile.Profile) api.Profile {
	out := api.Profile{Name: r.Name, Owner: r.OwnerName, Managed: r.Managed, Remotes: []string{},
		Imported: r.Imported, Notes: r.Notes, State: api.Disconnected}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	if c, ok := s.board.get(k); ok {
		out.State = c.State
	}
	if p == nil {
		return out
	}
	for _, m := range p.Remotes {
		out.Remotes = append(out.Remotes, joinHostPort(m.Host, m.Port)+"/"+m.Proto)
	}
	out.Auth = p.AuthKind()
	out.Expires = certificateExpiry(p.Cert)
	return out
}

// Profiles lists the caller's profiles by name.
func (s *Service) Profiles(caller api.Caller) ([]api.Profile, error) {
	owner := ownerOf(caller)
	out := []api.Profile{}
	for _, r := range s.store.list(owner) {
		p, err := profile.Parse(r.Name, []byte(r.Text), nil)
		if err != nil {
			p = nil // kept by a version that knew better; connecting says what is wrong
		}
		out = append(out, s.describe(key{owner, r.Name}, r, p))
	}
	return out, nil
}

// Show returns a profile's text without its keys.
func (s *Service) Show(caller api.Caller, name string) (api.ProfileText, error) {
	r, err := s.store.get(key{ownerOf(caller), name})
	if err != nil {
		return api.ProfileText{}, err
	}
	return api.ProfileText{Name: r.Name, Text: profile.Redact(r.Text)}, nil
}

// Export returns the whole text, keys included, to the owner.
func (s *Service) Export(caller api.Caller, name string) (api.ProfileText, error) {
	r, err := s.store.get(key{ownerOf(caller), name})
	if err != nil {
		return api.ProfileText{}, err
	}
	if r.Managed {
		return api.ProfileText{}, api.NewProblem(api.CodeNotPermitted, map[string]string{"action": "export a managed profile"})
	}
	return api.ProfileText{Name: r.Name, Text: r.Text}, nil
}

// Rename gives a profile another name. Its settings move along.
func (s *Service) Rename(caller api.Caller, name, to string) error {
	k := key{ownerOf(caller), name}
	if s.isLive(k) {
		return api.NewProblem(api.CodeProfileInUse, map[string]string{"profile": name})
	}
	if err := s.store.rename(k, to); err != nil {
		return err
	}
	s.board.drop(k)
	return s.store.want(wish{Owner: k.owner, Profile: name}, false)
}

// Remove deletes a profile that has no tunnel.
func (s *Service) Remove(caller api.Caller, name string) error {
	k := key{ownerOf(caller), name}
	if s.isLive(k) {
		return api.NewProblem(api.CodeProfileInUse, map[string]string{"profile": name})
	}
	if err := s.store.remove(k); err != nil {
		return err
	}
	s.board.drop(k)
	s.log.Info("removed", profileKey, k.name, ownerKey, k.owner)
	return s.store.want(wish{Owner: k.owner, Profile: name}, false)
}

// Settings returns a profile's choices.
func (s *Service) Settings(caller api.Caller, name string) (api.Settings, error) {
	r, err := s.store.get(key{ownerOf(caller), name})
	return withDefaults(r.Settings), err
}

// Set applies all changes or none. They count from the next connection on, but for save_password, which counts
// at once: a person may say so while typing the password.
func (s *Service) Set(caller api.Caller, name string, changes []string) (api.Settings, error) {
	k := key{ownerOf(caller), name}
	r, err := s.store.update(k, func(r *record) error {
		for _, c := range changes {
			if err := applySetting(&r.Settings, c); err != nil {
				return err
			}
		}
		return nil
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[k]; err == nil && l != nil && s.heedLocked(k, l) {
		s.board.touch()
	}
	return withDefaults(r.Settings), err
}

func (s *Service) isLive(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[k] != nil
}
