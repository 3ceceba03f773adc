package endpoint

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/wrap"
	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/platform/lock"
)

// SocketName is the control socket's name in the data directory. On Windows it is a pipe for this path (ipc.Listen), and no
// file.
const SocketName = "control.sock"

// LockName is the file whose lock the running endpoint holds.
const LockName = "control.lock"

// maxRequest bounds a control request's body, bytes.
const maxRequest = 64 << 10

// Connection is one established client, or one that was, as the control socket shows it.
type Connection struct {
	ID        string     `json:"id"`
	Endpoint  string     `json:"endpoint,omitempty"` // where the process has the API, and may have several
	Client    string     `json:"client"`             // user name, else the certificate's common name
	Username  string     `json:"username,omitempty"`
	Cert      string     `json:"common_name,omitempty"`
	Status    string     `json:"status"` // StatusActive and so on
	From      string     `json:"from"`   // outer address
	Transport string     `json:"transport"`
	Address   netip.Addr `json:"address"`
	Address6  netip.Addr `json:"address6,omitzero"`
	Subnet    string     `json:"subnet"` // of the association
	Format    string     `json:"format"` // of the data channel: the cipher, and what is not usual
	// Key is the client's tls-crypt-v2 key; nil for one that uses another method, or none.
	Key       *ControlKey `json:"tls_crypt_v2,omitempty"`
	Posture   []string    `json:"posture_compliance_statuses,omitempty"` // of the connect handler; not to be changed
	Since     time.Time   `json:"since"`
	Evaluated time.Time   `json:"authorization_policy_last_evaluated,omitzero"` // zero: there is no such policy
	Ended     time.Time   `json:"ended,omitzero"`                               // zero while it lasts
	Reason    string      `json:"reason,omitempty"`                             // why it ended
	RxBytes   uint64      `json:"rx_bytes"`                                     // from the client
	TxBytes   uint64      `json:"tx_bytes"`
	RxPackets uint64      `json:"rx_packets"`
	TxPackets uint64      `json:"tx_packets"`
}

// ControlKey says which tls-crypt-v2 key a client used. Nothing in it is secret.
type ControlKey struct {
	ID   string     `json:"id"`             // wrap.ClientKey.ID
	Name string     `json:"name,omitempty"` // of the key's file in the PKI; the endpoint itself leaves it empty
	Made *time.Time `json:"made,omitempty"` // when the key says that it was made
	User string     `json:"user,omitempty"` // what its maker wrote into it: text, else "base64:" and its base64
}

// controlKey is what a session knows of its client's key; nil for none.
func controlKey(s *ovpn.Session) *ControlKey {
	m, ok := s.ClientKey()
	if !ok {
		return nil
	}
	return keyOf(s.ClientKeyID(), m)
}

// keyOf says what is in a key's metadata.
func keyOf(id string, m wrap.Metadata) *ControlKey {
	k := &ControlKey{ID: id}
	if made, ok := m.Made(); ok {
		k.Made = &made
	}
	if user, ok := m.User(); ok {
		k.User = string(user)
		if !utf8.Valid(user) || strings.ContainsFunc(k.User, func(r rune) bool { return !unicode.IsPrint(r) }) {
			k.User = "base64:" + base64.StdEncoding.EncodeToString(user)
		}
	}
	return k
}

// Terminate ends the connection with an id, or all connections of a user, and
// tells the clients not to come back by themselves, which their tokens do not
// allow any more; neither do those of clients that are away, perhaps asleep. It
// returns the connections' ids, and how many sign-ins it revoked.
func (s *Server) Terminate(id, user string) (connections []string, signIns int) {
	connections = []string{}
	forget := func(session auth.TokenSession) {
		if s.signedIn.forget(session) {
			signIns++
		}
	}
	good, over := s.signIns(id, user)
	for _, session := range good {
		forget(session)
	}
	for _, session := range over {
		s.signedIn.forget(session)
	}
	for _, p := range s.peers.all() {
		if p.is(id, user) && !p.terminating.Swap(true) {
			forget(p.status.Load().session) // of somebody who signed in meanwhile
			p.end("HALT,the administrator ended the connection", "terminated by the administrator")
			connections = append(connections, p.name)
		}
	}
	return connections, signIns
}

// signIns are those with which the client of a connection's id, or a user, could come back, and those with which it could not any more.
func (s *Server) signIns(id, user string) (good, over []auth.TokenSession) {
	tokens := s.gen.Load().tokens
	if tokens == nil {
		return nil, nil // nobody's name and password are asked for
	}
	return s.signedIn.meant(s.leave.Now(), tokens, id, user)
}

// SignedIn says whether the client of a connection's id, or a user, could come back without signing in.
func (s *Server) SignedIn(id, user string) bool {
	good, _ := s.signIns(id, user)
	return len(good) > 0
}

// TerminateRequest is the body of POST /v1/terminate; exactly one field is set.
type TerminateRequest struct {
	ID   string `json:"id,omitempty"`
	User string `json:"user,omitempty"`
}

// TerminateReply lists what was ended.
type TerminateReply struct {
	Terminated []string `json:"terminated"` // ids of connections
	// SignIns counts the sign-ins that were revoked: with a token of one a client comes back without signing in.
	SignIns int `json:"sign_ins_revoked"`
}

// ReloadReply says how many sessions were reset.
type ReloadReply struct {
	Reset int `json:"reset"`
}

// ControlError is the control socket's answer to what it could not do.
type ControlError struct {
	Text string `json:"error"`
}

func (e *ControlError) Error() string { return e.Text }

// Controlled is what the control socket steers: the endpoints of a process.
type Controlled interface {
	// AllConnections are the clients of all endpoints, and those that ended within the last hour.
	AllConnections() []Connection
	// TerminateAll ends the connection of an id, or all those of a user, and says which; and how many sign-ins it revoked.
	TerminateAll(connection, user string) (connections []string, signIns int)
	// Reload reads the file again, and says how many sessions that reset.
	Reload(ctx context.Context) (reset int, err error)
	// ConfigOf is the configuration that an endpoint runs with; an empty id means the file's own.
	ConfigOf(id string) (Config, error)
}

// ControlHandler answers the control socket.
func ControlHandler(c Controlled) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/connections", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, slices.DeleteFunc(c.AllConnections(), func(c Connection) bool { return c.Status == StatusTerminated }))
	})
	mux.HandleFunc("GET /v1/connections/all", func(w http.ResponseWriter, _ *http.Request) { reply(w, c.AllConnections()) })
	mux.HandleFunc("POST /v1/terminate", func(w http.ResponseWriter, r *http.Request) {
		var q TerminateRequest
		if err := decode(w, r, &q); err != nil {
			refuse(w, http.StatusBadRequest, err)
			return
		}
		if (q.ID == "") == (q.User == "") {
			refuse(w, http.StatusBadRequest, errors.New("name an id or a user"))
			return
		}
		ids, signIns := c.TerminateAll(q.ID, q.User)
		if len(ids) == 0 && signIns == 0 {
			refuse(w, http.StatusNotFound, fmt.Errorf("no connection of %s, and nobody who could come back without signing in", q.ID+q.User))
			return
		}
		reply(w, TerminateReply{Terminated: ids, SignIns: signIns})
	})
	mux.HandleFunc("POST /v1/reload", func(w http.ResponseWriter, r *http.Request) {
		n, err := c.Reload(r.Context())
		if err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		reply(w, ReloadReply{Reset: n})
	})
	mux.HandleFunc("GET /v1/config", func(w http.ResponseWriter, r *http.Request) {
		cfg, err := c.ConfigOf(r.URL.Query().Get("endpoint"))
		if err == nil {
			cfg, err = cfg.absolute()
		}
		if err != nil {
			refuse(w, http.StatusConflict, err)
			return
		}
		reply(w, cfg)
	})
	return mux
}

// absolute is a configuration whose file names hold in any working directory.
func (c Config) absolute() (Config, error) {
	var err error
	if c.File == "" {
		c.Data, err = filepath.Abs(c.Data)
		return c, err
	}
	c.File, err = filepath.Abs(c.File)
	return c, err
}

func decode(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("bad request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("bad request: more than one value")
	}
	return nil
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error means that the asker is gone
}

func refuse(w http.ResponseWriter, code int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(ControlError{Text: err.Error()})
}

// ErrRunning says that another process serves the data directory.
var ErrRunning = errors.New("another adit-endpoint runs on this data directory")

// Control is the open control socket of a data directory, and its lock.
type Control struct {
	held *lock.File
	ln   net.Listener
}

// OpenControl takes the directory's lock and opens its socket for the owner
// alone. A socket that a dead process left is replaced.
func OpenControl(dir string) (*Control, error) {
	held, err := lock.Take(filepath.Join(dir, LockName))
	if errors.Is(err, lock.ErrHeld) {
		return nil, fmt.Errorf("%w: %s", ErrRunning, dir)
	}
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, SocketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		held.Close()
		return nil, err
	}
	ln, err := ipc.Listen(path, 0o600)
	if err != nil {
		held.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &Control{held: held, ln: ln}, nil
}

// Serve answers until ctx ends, then closes the socket and removes it. The directory stays the caller's until Close: what an
// endpoint does at its end is for it alone.
func (c *Control) Serve(ctx context.Context, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(late) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(c.ln)
	if !stop() {
		<-done
	}
	srv.Close()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// Close frees the directory, after Serve or without it.
func (c *Control) Close() {
	c.ln.Close() // removes the socket
	c.held.Close()
}

// ErrNotRunning says that nobody serves the data directory.
var ErrNotRunning = errors.New("no adit-endpoint runs on this data directory")

// ControlClient asks the running endpoint of a data directory. Safe for concurrent use.
type ControlClient struct {
	dir  string
	http *http.Client
}

// NewControlClient connects at the first request.
func NewControlClient(dir string) *ControlClient {
	path := filepath.Join(dir, SocketName)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return ipc.Dial(ctx, path) }
	return &ControlClient{dir: dir, http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Connections asks for the established clients.
func (c *ControlClient) Connections(ctx context.Context) (out []Connection, err error) {
	return out, c.ask(ctx, http.MethodGet, "/v1/connections", nil, &out)
}

// AllConnections asks for the established clients and those that ended within the last hour.
func (c *ControlClient) AllConnections(ctx context.Context) (out []Connection, err error) {
	return out, c.ask(ctx, http.MethodGet, "/v1/connections/all", nil, &out)
}

// Terminate ends connections.
func (c *ControlClient) Terminate(ctx context.Context, q TerminateRequest) (out TerminateReply, err error) {
	return out, c.ask(ctx, http.MethodPost, "/v1/terminate", q, &out)
}

// Reload makes the endpoint read its configuration again.
func (c *ControlClient) Reload(ctx context.Context) (out ReloadReply, err error) {
	return out, c.ask(ctx, http.MethodPost, "/v1/reload", nil, &out)
}

// Config asks for the configuration that an endpoint runs with: its file's, and the flags over it. An empty id means the
// endpoint of the file, or the only one.
func (c *ControlClient) Config(ctx context.Context, id string) (out Config, err error) {
	return out, c.ask(ctx, http.MethodGet, "/v1/config?endpoint="+url.QueryEscape(id), nil, &out)
}

func (c *ControlClient) ask(ctx context.Context, method, path string, body, into any) error {
	var b bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&b).Encode(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://endpoint"+path, &b)
	if err != nil {
		return err
	}
	res, err := c.http.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, ipc.ErrImpostor) {
		return fmt.Errorf("%w: %s", ErrNotRunning, c.dir)
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	d := json.NewDecoder(io.LimitReader(res.Body, 64<<20))
	if res.StatusCode != http.StatusOK {
		var e ControlError
		if d.Decode(&e) != nil || e.Text == "" {
			e.Text = "the endpoint answered " + res.Status
		}
		return &e
	}
	return d.Decode(into)
}
