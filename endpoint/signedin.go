package endpoint

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
)

// signedIn remembers who is behind an authentication token, which itself says nothing of groups:
// a client that comes back with it is who it was. Safe for concurrent use.
type signedIn struct {
	mu    sync.Mutex
	by    map[auth.TokenSession]signIn
	swept time.Time
}

// signIn is one person's.
type signIn struct {
	identity auth.Identity
	since    time.Time
	until    time.Time // its token is good no longer
	proof    string    // generation's, when it was judged: another one wants another sign-in
	digest   string    // generation.digest of the user then
	last     string    // id of the connection that has, or had, its token
}

// maxSignedIn bounds the memory; an endpoint has at most half as many addresses.
const maxSignedIn = 1 << 17

// sweepEvery is how often the memory is looked through for what is over, at most.
const sweepEvery = 10 * time.Minute

func newSignedIn() *signedIn { return &signedIn{by: map[auth.TokenSession]signIn{}} }

// put remembers a new sign-in.
func (m *signedIn) put(now time.Time, id auth.TokenSession, s signIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.swept) >= sweepEvery {
		m.swept = now
		for k, old := range m.by {
			if old.until.Before(now) {
				delete(m.by, k)
			}
		}
	}
	for k := range m.by {
		if len(m.by) < maxSignedIn {
			break
		}
		delete(m.by, k) // somebody must sign in again
	}
	m.by[id] = s
}

// renew remembers that a sign-in's token was renewed, for whom, and by which connection. It is false for one that was
// revoked meanwhile, which stays so.
func (m *signedIn) renew(id auth.TokenSession, who auth.Identity, digest string, until time.Time, by string) (signIn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.by[id]
	if ok {
		s.identity, s.digest, s.until, s.last = who, digest, until, by
		m.by[id] = s
	}
	return s, ok
}

// get finds a sign-in.
func (m *signedIn) get(id auth.TokenSession) (signIn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.by[id]
	return s, ok
}

// forget ends a sign-in: its token is good no more. It is false when there is none.
func (m *signedIn) forget(id auth.TokenSession) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.by[id]
	delete(m.by, id)
	return ok
}

// of are the sign-ins whose token is still good at now and whose last connection has an id, or that are a user's.
func (m *signedIn) of(now time.Time, connection, user string) []auth.TokenSession {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []auth.TokenSession
	for id, s := range m.by {
		if s.until.After(now) && meant(connection, user, s.last, s.identity) {
			out = append(out, id)
		}
	}
	return out
}

// meant says whether a person means the connection id of somebody by an id, or by a user name.
func meant(connection, user, id string, who auth.Identity) bool {
	return connection != "" && id == connection || user != "" && strings.EqualFold(who.Name(), user)
}

// clear ends all sign-ins.
func (m *signedIn) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.by)
}

// keptSignIns is what an endpoint leaves to its next run.
type keptSignIns struct {
	Proof string       `json:"proof"` // of generation
	List  []keptSignIn `json:"list"`
}

// keptSignIn is one of them.
type keptSignIn struct {
	Session string    `json:"session"` // hex
	Name    string    `json:"common_name,omitempty"`
	User    string    `json:"user"`
	Groups  []string  `json:"groups,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Since   time.Time `json:"since"`
	Until   time.Time `json:"until"`
	Last    string    `json:"connection,omitempty"`
}

// SignIns is who is signed in, for Leaves.SignIns of the next run, with the same files. There is no
// secret in it. It is empty where no token outlives the endpoint (auth_token.secret).
func (s *Server) SignIns() ([]byte, error) {
	g := s.gen.Load()
	if g.lasting.Secret == "" {
		return nil, nil
	}
	s.signedIn.mu.Lock()
	defer s.signedIn.mu.Unlock()
	kept := keptSignIns{Proof: g.proof}
	now := s.leave.Now()
	for id, v := range s.signedIn.by {
		if v.until.After(now) && v.proof == g.proof {
			kept.List = append(kept.List, keptSignIn{hex.EncodeToString(id[:]), v.identity.CommonName, v.identity.Username, v.identity.Groups, v.digest, v.since, v.until, v.last})
		}
	}
	if len(kept.List) == 0 {
		return nil, nil
	}
	return json.Marshal(kept)
}

// restore takes what SignIns gave, unless people must prove themselves otherwise now; nil is nothing. After
// an error nobody is signed in.
func (m *signedIn) restore(proof string, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	var kept keptSignIns
	if err := json.Unmarshal(text, &kept); err != nil {
		return fmt.Errorf("kept sign-ins: %w", err)
	}
	if kept.Proof != proof {
		return nil
	}
	if len(kept.List) > maxSignedIn {
		return fmt.Errorf("kept sign-ins: %d are too many", len(kept.List))
	}
	by := map[auth.TokenSession]signIn{}
	for _, k := range kept.List {
		var id auth.TokenSession
		b, err := hex.DecodeString(k.Session)
		if err != nil || len(b) != len(id) {
			return errors.New("kept sign-ins: malformed session")
		}
		copy(id[:], b)
		by[id] = signIn{auth.Identity{CommonName: k.Name, Username: k.User, Groups: k.Groups}, k.Since, k.Until, proof, k.Digest, k.Last}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by = by
	return nil
}
