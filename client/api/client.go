package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/adit-vpn/adit/platform/ipc"
	"github.com/adit-vpn/adit/routes"
)

// largestAnswer bounds what the client reads of one answer (or one line of a stream).
const largestAnswer = 32 << 20

// Client speaks to the service. It is safe for concurrent use. Every error of its methods
// that is not the context's is a *Problem.
type Client struct {
	socket string
	http   *http.Client
	asUser bool
}

// NewClient makes a client of the service at a socket; it connects when first used.
// Close frees its idle connections.
func NewClient(socket string) *Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := ipc.Dial(ctx, socket)
			if err != nil {
				return nil, &dialError{err}
			}
			return c, nil
		},
		DisableCompression: true,
	}
	return &Client{socket: socket, http: &http.Client{Transport: transport}}
}

// Close frees idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// AsUser returns a client that shares c's connections and asks without root's sight: the service tells it only what is
// the caller's own, also when that is root. It needs no Close of its own.
func (c *Client) AsUser() *Client { return &Client{socket: c.socket, http: c.http, asUser: true} }

// Status returns the current snapshot.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return get[Status](ctx, c, "/v1/status", nil)
}

// Watch calls send with the snapshot now and at every change until ctx ends, send
// fails (its error is returned as it is) or the service stops.
func (c *Client) Watch(ctx context.Context, send func(Status) error) error {
	return stream(ctx, c, "/v1/watch", nil, send)
}

// Import stores a profile.
func (c *Client) Import(ctx context.Context, req ImportRequest) (Profile, error) {
	return post[Profile](ctx, c, "/v1/import", req)
}

// Profiles lists the caller's profiles and the managed ones.
func (c *Client) Profiles(ctx context.Context) ([]Profile, error) {
	return get[[]Profile](ctx, c, "/v1/profiles", nil)
}

// Show returns a profile's text with keys redacted.
func (c *Client) Show(ctx context.Context, name string) (ProfileText, error) {
	return get[ProfileText](ctx, c, "/v1/profile", url.Values{"name": {name}})
}

// Export returns a profile's whole text.
func (c *Client) Export(ctx context.Context, name string) (ProfileText, error) {
	return get[ProfileText](ctx, c, "/v1/export", url.Values{"name": {name}})
}

// Rename gives a profile another name.
func (c *Client) Rename(ctx context.Context, name, to string) error {
	_, err := post[struct{}](ctx, c, "/v1/rename", renameRequest{name, to})
	return err
}

// Remove deletes a profile.
func (c *Client) Remove(ctx context.Context, name string) error {
	_, err := post[struct{}](ctx, c, "/v1/remove", nameRequest{name})
	return err
}

// Settings returns a profile's settings.
func (c *Client) Settings(ctx context.Context, name string) (Settings, error) {
	return get[Settings](ctx, c, "/v1/settings", url.Values{"name": {name}})
}

// Set applies all changes or none and returns the settings after them.
func (c *Client) Set(ctx context.Context, name string, changes []string) (Settings, error) {
	return post[Settings](ctx, c, "/v1/set", setRequest{name, changes})
}

// Connect records the wish for a tunnel; Watch tells the rest. The problem
// already_connected is a success with a note.
func (c *Client) Connect(ctx context.Context, req ConnectRequest) error {
	_, err := post[struct{}](ctx, c, "/v1/connect", clearConnect{
		ConnectRequest: req, Password: req.Password.Reveal(), OTP: req.OTP.Reveal()})
	return err
}

// Answer answers a question that Status shows. The problem question_gone says that
// somebody else was faster, or that it is too late.
func (c *Client) Answer(ctx context.Context, a Answer) error {
	_, err := post[struct{}](ctx, c, "/v1/answer", clearAnswer{
		Answer: a, Password: a.Password.Reveal(), Response: a.Response.Reveal()})
	return err
}

// The requests with secrets as they travel: push.Secret writes itself as "[redacted]", and
// the outer field hides the inner one of the same name.
type (
	clearConnect struct {
		ConnectRequest
		Password string `json:"password"`
		OTP      string `json:"otp"`
	}
	clearAnswer struct {
		Answer
		Password string `json:"password"`
		Response string `json:"response"`
	}
)

// Disconnect ends one tunnel, or with an empty name all of the caller's, and returns when
// everything is undone.
func (c *Client) Disconnect(ctx context.Context, name string) error {
	_, err := post[struct{}](ctx, c, "/v1/disconnect", nameRequest{name})
	return err
}

// Explain says which way a packet to destination would go.
func (c *Client) Explain(ctx context.Context, destination string) (routes.Explanation, error) {
	return get[routes.Explanation](ctx, c, "/v1/explain", url.Values{"destination": {destination}})
}

// Logs calls send for each kept line, then, with follow, for new ones until ctx ends.
func (c *Client) Logs(ctx context.Context, follow bool, send func(LogLine) error) error {
	return stream(ctx, c, "/v1/logs", url.Values{"follow": {strconv.FormatBool(follow)}}, send)
}

// Version returns the service's version.
func (c *Client) Version(ctx context.Context) (Version, error) {
	return get[Version](ctx, c, "/v1/version", nil)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return roundTrip[T](ctx, c, http.MethodGet, path, query, nil)
}

func post[T any](ctx context.Context, c *Client, path string, req any) (T, error) {
	body, err := json.Marshal(req)
	if err != nil {
		var zero T
		return zero, NewProblem(CodeInternal, map[string]string{"detail": err.Error()})
	}
	return roundTrip[T](ctx, c, http.MethodPost, path, nil, body)
}

func roundTrip[T any](ctx context.Context, c *Client, method, path string, query url.Values, body []byte) (T, error) {
	var answer T
	resp, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return answer, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		return answer, c.broken(ctx, err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return answer, c.broken(ctx, errors.New("its answer is not in the expected form"))
	}
	return answer, nil
}

// stream reads lines until the one that ends them.
func stream[T any](ctx context.Context, c *Client, path string, query url.Values, send func(T) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	limited := &io.LimitedReader{R: resp.Body}
	decoder := json.NewDecoder(limited)
	for {
		limited.N = largestAnswer
		var line struct {
			Value   *T       `json:"value"`
			Problem *Problem `json:"problem"`
			End     bool     `json:"end"`
		}
		if err := decoder.Decode(&line); err != nil {
			return c.broken(ctx, err)
		}
		switch {
		case line.Problem != nil:
			return line.Problem
		case line.Value != nil:
			if err := send(*line.Value); err != nil {
				return err
			}
		case line.End:
			return nil
		}
	}
}

// send returns an answer of status 200, or the error.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body []byte) (*http.Response, error) {
	// The host's name is never looked up: DialContext goes to the socket.
	target := url.URL{Scheme: "http", Host: "adit", Path: path, RawQuery: query.Encode()}
	if c.asUser {
		target.RawQuery = strings.TrimPrefix(target.RawQuery+"&"+asUser+"=true", "&")
	}
	req, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, NewProblem(CodeInternal, map[string]string{"detail": err.Error()})
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, largestAnswer))
	if err != nil {
		return nil, c.broken(ctx, err)
	}
	var answer struct {
		Problem *Problem `json:"problem"`
	}
	if json.Unmarshal(text, &answer) != nil || answer.Problem == nil {
		return nil, c.broken(ctx, fmt.Errorf("it answers with HTTP status %d", resp.StatusCode))
	}
	return nil, answer.Problem
}

// dialError marks that nobody was reached.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// broken makes the Problem for a service that was not reached or fell silent. When ctx
// has ended, that is the reason, and its error is returned.
func (c *Client) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	detail := "the connection broke"
	var dial *dialError
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		detail = DetailNotRunning
	case errors.Is(err, fs.ErrPermission):
		detail = DetailNotPermitted
	case errors.As(err, &dial):
		detail = dial.Error()
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		var request *url.Error // names a URL that nobody typed
		if errors.As(err, &request) {
			err = request.Err
		}
		detail = err.Error()
	}
	return NewProblem(CodeServiceUnreachable, map[string]string{"socket": c.socket, "detail": detail, "start": ipc.StartCommand()})
}
