package endpoint

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
	of    map[string][]auth.TokenSession // by identity.Name: that which was used longest ago first
	swept time.Time
}

// signIn is one person's.
type signIn struct {
	identity auth.Identity
	since    time.Time
	until    time.Time // its token is good no longer: auth.Tokens.Until
	proof    string    // generation's, when it was judged: another one wants another sign-in
	digest   string    // generation.digest of the user then
	last     string    // id of the connection that has, or had, its token
}

// Bounds of the memory. An endpoint has at most a quarter as many addresses. Whoever signs in again and again, as a client without
// tokens does in a loop, pushes out what is his own.
const (
	maxSignedIn = 1 << 17
	maxOfOne    = 1024 // of one name, which many machines may share
)

// sweepEvery is how often the memory is looked through for what is over, at most.
const sweepEvery = 10 * time.Minute

func newSignedIn() *signedIn {
	return &signedIn{by: map[auth.TokenSession]signIn{}, of: map[string][]auth.TokenSession{}}
}

// good says whether a token of s may be good at now.
func (s *signIn) good(now time.Time, tokens *auth.Tokens) bool {
	return s.until.After(now) && !tokens.Over(s.since, now)
}

// put remembers a new sign-in. tokens are those of now.
func (m *signedIn) put(now time.Time, tokens *auth.Tokens, id auth.TokenSession, s signIn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Sub(m.swept) >= sweepEvery {
		m.swept = now
		for k, old := range m.by {
			if !old.good(now, tokens) {
				m.drop(k)
			}
		}
	}
	m.add(id, s)
}

// add makes room for a sign-in: whoever has too many, or most of all, must sign in again where he has not been for longest. All of
// one person share a list of groups, which may be long, while it stays the same. With mu held.
func (m *signedIn) add(id auth.TokenSession, s signIn) {
	name := s.identity.Name()
	if len(m.of[name]) >= maxOfOne {
		m.drop(m.of[name][0])
	}
	if len(m.by) >= maxSignedIn {
		var most []auth.TokenSession
		for _, list := range m.of {
			if len(list) > len(most) {
				most = list
			}
		}
		m.drop(most[0])
	}
	if n := len(m.of[name]); n > 0 {
		if groups := m.by[m.of[name][n-1]].identity.Groups; slices.Equal(groups, s.identity.Groups) {
			s.identity.Groups = groups
		}
	}
	m.by[id] = s
	m.of[name] = append(m.of[name], id)
}

// drop forgets a sign-in, if it is there. With mu held.
func (m *signedIn) drop(id auth.TokenSession) {
	s, there := m.by[id]
	if !there {
		return
	}
	delete(m.by, id)
	name := s.identity.Name()
	left := slices.DeleteFunc(m.of[name], func(k auth.TokenSession) bool { return k == id })
	if m.of[name] = left; len(left) == 0 {
		delete(m.of, name)
	}
}

// renew remembers that a sign-in's token was renewed, for whom, and by which connection. It is false for one that was
// revoked meanwhile, which stays so.
func (m *signedIn) renew(id auth.TokenSession, who auth.Identity, digest string, until time.Time, by string) (signIn, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.by[id]
	if ok {
		m.drop(id)
		s.identity, s.digest, s.until, s.last = who, digest, until, by
		m.add(id, s)
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
	m.drop(id)
	return ok
}

// meant are the sign-ins whose last connection has an id, or that are a user's: those whose token is still good at now, and those that
// only a longer session time would make good again.
func (m *signedIn) meant(now time.Time, tokens *auth.Tokens, connection, user string) (good, over []auth.TokenSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, s := range m.by {
		switch {
		case !meant(connection, user, s.last, s.identity):
		case s.good(now, tokens):
			good = append(good, id)
		default:
			over = append(over, id)
		}
	}
	return good, over
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
	clear(m.of)
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
		if v.good(now, g.tokens) && v.proof == g.proof {
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
	slices.SortFunc(kept.List, func(a, b keptSignIn) int { return a.Until.Compare(b.Until) })
	all := newSignedIn()
	for _, k := range kept.List {
		var id auth.TokenSession
		b, err := hex.DecodeString(k.Session)
		if err != nil || len(b) != len(id) {
			return errors.New("kept sign-ins: malformed session")
		}
		copy(id[:], b)
		all.drop(id)
		all.add(id, signIn{auth.Identity{CommonName: k.Name, Username: k.User, Groups: k.Groups}, k.Since, k.Until, proof, k.Digest, k.Last})
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.by, m.of = all.by, all.of
	return nil
}
