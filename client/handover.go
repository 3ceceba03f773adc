package client

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/durable"
)

// What a service that ends to be started again at once (ErrRestart) hands over to the next: the tokens by which servers know the people who have signed in
// (openvpn(8), auth-token), so that nobody is asked again after an upgrade. Passwords and one-time codes are never in it. The
// file is for this process's user alone, is sealed where the system can seal, and is removed as it is read.

const (
	handoverVersion = 1
	maxHandover     = 1 << 20 // bytes
	// handoverAge is how old it may be: what is older, nobody has waited for. Packages of Windows replace the programs meanwhile.
	handoverAge = 5 * time.Minute
)

// handover is the file.
type handover struct {
	Version int       `json:"version"`
	Made    time.Time `json:"made"`
	Tokens  []handed  `json:"tokens"`
}

// handed is one connection's token.
type handed struct {
	Owner   string `json:"owner"`
	Profile string `json:"profile"`
	Person  string `json:"person"` // of a managed profile, whose sign-in it was
	User    string `json:"user"`   // that goes with the token
	Token   string `json:"token"`
}

// String keeps the token out of logs.
func (h handed) String() string { return h.Owner + "/" + h.Profile }

// handOver writes the tokens of connections that have ended.
func (s *Service) handOver(ended []*live) {
	if s.cfg.Handover == "" {
		return
	}
	out := handover{Version: handoverVersion, Made: time.Now()}
	for _, l := range ended {
		if k := &l.conn.kept; k.usesToken() {
			user := k.tokenUser
			if user == "" {
				user = k.user
			}
			out.Tokens = append(out.Tokens, handed{l.wish.Owner, l.wish.Profile, l.conn.personOf(), user, k.token.Reveal()})
		}
	}
	if len(out.Tokens) == 0 {
		return
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
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handed = in
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

// inheritLocked is the token of the last service for a connection that goes on with a wish, once.
func (s *Service) inheritLocked(w wish) (token push.Secret, user string) {
	for i, h := range s.handed.Tokens {
		if h.Owner != w.Owner || h.Profile != w.Profile {
			continue
		}
		if age := time.Since(s.handed.Made); h.Person == w.Person && age >= 0 && age < handoverAge {
			token, user = push.Secret(h.Token), h.User
		}
		s.handed.Tokens[i].Token = ""
	}
	return token, user
}
