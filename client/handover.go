package client

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/durable"
)

// What a service that ends to be started again at once (ErrRestart) hands over to the next, which goes on where this one ended: its connections, with
// the tokens by which servers know the people who have signed in (openvpn(8), auth-token), so that nobody is asked again after an upgrade; and for
// whom everything has begun that begins by itself, so that what they have ended since stays so. Passwords and one-time codes are never in it. The
// file is for this process's user alone, is sealed where the system can seal, and is removed as it is read.

const (
	handoverVersion = 2
	maxHandover     = 1 << 20 // bytes
	// handoverAge is how old it may be: what is older, nobody has waited for. Packages of Windows replace the programs meanwhile.
	handoverAge = 5 * time.Minute
)

// handover is the file.
type handover struct {
	Version     int       `json:"version"`
	Made        time.Time `json:"made"`
	Connections []handed  `json:"connections"`
	Begun       bool      `json:"begun"`        // what begins by itself has
	People      []string  `json:"people"`       // accounts for which it has, too
	AutoConnect string    `json:"auto_connect"` // the policy's
}

// handed is one connection.
type handed struct {
	Owner   string `json:"owner"`
	Profile string `json:"profile"`
	Person  string `json:"person"` // of a managed profile, whose sign-in it was
	User    string `json:"user"`   // that goes with the token
	Token   string `json:"token"`  // empty: there is none
	// Sessionless says that the person had no session on the machine, and had not left it: it is that one's as before.
	Sessionless bool `json:"sessionless"`
}

// String keeps the token out of logs.
func (h handed) String() string { return h.Owner + "/" + h.Profile }

// handOver writes it for connections that have ended.
func (s *Service) handOver(ended []*live) {
	if s.cfg.Handover == "" {
		return
	}
	m := s.rules()
	out := handover{Version: handoverVersion, Made: time.Now(), Connections: []handed{}, AutoConnect: m.auto()}
	out.Begun, out.People = s.present.begun(!m.broken && s.mayBegin())
	for _, l := range ended {
		if !s.store.wants(l.wish.key()) {
			continue // somebody was just disconnecting it
		}
		h := handed{Owner: l.wish.Owner, Profile: l.wish.Profile, Person: l.conn.personOf()}
		h.Sessionless = h.Person != "" && s.present.without(h.Person, l.asked)
		if k := &l.conn.kept; k.usesToken() {
			h.User, h.Token = cmp.Or(k.tokenUser, k.user), k.token.Reveal()
		}
		out.Connections = append(out.Connections, h)
	}
	text, err := json.Marshal(out)
	if err == nil && s.cfg.Sealer != nil {
		text, err = s.cfg.Sealer.Seal(text)
	}
	if err == nil {
		err = durable.Swap(s.cfg.Handover, text, 0o600)
	}
	if err != nil {
		s.log.Error("sign-ins are not handed over; people will be asked again", errorKey, err)
	}
}

// takeOver reads what the last service has handed over, and removes it.
func (s *Service) takeOver() {
	if s.cfg.Handover == "" {
		return
	}
	f, err := os.Open(s.cfg.Handover)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxHandover))
		err = errors.Join(err, f.Close(), os.Remove(s.cfg.Handover))
	}
	if err == nil && s.cfg.Sealer != nil {
		text, err = s.cfg.Sealer.Open(text)
	}
	var in handover
	if err == nil {
		in, err = parseHandover(text)
	}
	if err != nil {
		s.log.Error("sign-ins are not taken over; people will be asked again", errorKey, err)
		return
	}
	if age := time.Since(in.Made); age < 0 || age >= handoverAge {
		return
	}
	s.mu.Lock()
	s.handed = in
	s.mu.Unlock()
	if m := s.rules(); in.Begun && !m.broken && in.AutoConnect == m.auto() { // else all is to begin, or another one, once something may
		s.present.resume(in.People)
	}
}

// wasOpen says whether the last service has handed a connection over.
func (s *Service) wasOpen(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.handed.Connections, func(h handed) bool { return h.Owner == k.owner && h.Profile == k.name })
}

func parseHandover(text []byte) (in handover, err error) {
	if err := json.Unmarshal(text, &in); err != nil {
		return handover{}, errors.New("what the last service handed over cannot be read") // the error may quote it
	}
	if in.Version != handoverVersion {
		return handover{}, errors.New("another version of Adit has written what was handed over")
	}
	return in, nil
}

// inheritLocked is the token of the last service for a connection that goes on with a wish, once, and since when its person has not left without a
// session; zero: that is not known.
func (s *Service) inheritLocked(w wish) (token push.Secret, user string, asked time.Time) {
	for i, h := range s.handed.Connections {
		if h.Owner != w.Owner || h.Profile != w.Profile {
			continue
		}
		if age := time.Since(s.handed.Made); h.Person == w.Person && age < handoverAge {
			token, user = push.Secret(h.Token), h.User
			if h.Sessionless {
				asked = s.handed.Made
			}
		}
		s.handed.Connections[i].Token = ""
	}
	return token, user, asked
}
