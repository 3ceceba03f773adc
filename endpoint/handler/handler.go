// Package handler asks a client connect handler whether a client may connect, as AWS Client VPN asks a Lambda function: a
// JSON object to it, one from it (the administrator guide's "Client connect handler"). It is a program or an HTTP server of
// the administrator.
package handler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"
)

// The bounds of AWS's service.
const (
	Timeout      = 30 * time.Second
	maxAnswer    = 1 << 20 // bytes
	maxMessage   = 255     // characters of an error message
	maxStatuses  = 10
	maxStatus    = 255 // characters of each
	killedWithin = 2 * time.Second
)

// Schemas are the versions of requests and answers that are known.
func Schemas() []string { return []string{"v1", "v2", "v3"} }

// Config is one handler: Exec or URL.
type Config struct {
	Exec   string // absolute path of a program: request on standard input, answer on standard output
	URL    string // http or https: a POST
	Schema string // of Schemas
	// Timeout of one question; 0 = Timeout.
	Timeout time.Duration
}

// Request is what the handler is told. Empty fields are sent, too.
type Request struct {
	ConnectionID    string `json:"connection-id"`
	EndpointID      string `json:"endpoint-id"`
	CommonName      string `json:"common-name"`
	Username        string `json:"username"`
	Platform        string `json:"platform"`
	PlatformVersion string `json:"platform-version"`
	PublicIP        string `json:"public-ip"`
	ClientVersion   string `json:"client-openvpn-version"`
	// AWSVersion is in v3 only.
	AWSVersion string `json:"aws-client-version,omitempty"`
	// Groups are in v2 and v3.
	Groups []string `json:"groups,omitzero"`
	Schema string   `json:"schema-version"`
}

// Answer is what the handler decided.
type Answer struct {
	Allow    bool
	Message  string   // for the person, when it does not allow
	Statuses []string // of posture compliance, for the log
}

// Failure is a question without a good answer. Reason is AWS's word for the connection log.
type Failure struct {
	Reason string
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// AWS's words for what went wrong. Denied is for an answer that does not allow.
const (
	Denied         = "client-connect-failed"
	TimedOut       = "client-connect-handler-timed-out"
	OtherError     = "client-connect-handler-other-execution-error"
	Throttled      = "client-connect-handler-throttled"
	InvalidAnswer  = "client-connect-handler-invalid-response"
	ServiceFailure = "client-connect-handler-service-error"
)

// Told is what clients are told of a failure, whatever it was.
const Told = "Error establishing connection. Please contact your administrator."

// Ask asks, and waits for the answer. All errors are a *Failure, but for ctx's.
func Ask(ctx context.Context, cfg Config, client *http.Client, r Request) (Answer, error) {
	r.Schema = cfg.Schema
	if cfg.Schema == "v1" {
		r.Groups = nil
	} else if r.Groups == nil {
		r.Groups = []string{}
	}
	if cfg.Schema != "v3" {
		r.AWSVersion = ""
	}
	question, err := json.Marshal(r)
	if err != nil {
		return Answer{}, &Failure{OtherError, err}
	}
	limit := cfg.Timeout
	if limit == 0 {
		limit = Timeout
	}
	inTime, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var text []byte
	if cfg.Exec != "" {
		text, err = run(inTime, cfg.Exec, question)
	} else {
		text, err = post(inTime, client, cfg.URL, question)
	}
	switch {
	case ctx.Err() != nil:
		return Answer{}, ctx.Err()
	case inTime.Err() != nil:
		return Answer{}, &Failure{TimedOut, fmt.Errorf("no answer within %v", limit)}
	case err != nil:
		return Answer{}, err
	}
	a, err := parse(text, cfg.Schema)
	if err != nil {
		return Answer{}, &Failure{InvalidAnswer, err}
	}
	return a, nil
}

// limited keeps the first bytes of what is written to it, and knows whether there were more.
type limited struct {
	b    bytes.Buffer
	over bool
}

func (l *limited) Write(p []byte) (int, error) {
	room := maxAnswer - l.b.Len()
	l.over = l.over || len(p) > room
	l.b.Write(p[:min(len(p), room)])
	return len(p), nil
}

// run starts the program, which is looked up nowhere, with nothing in its environment but a path, and ends it and what it started when ctx ends.
func run(ctx context.Context, program string, question []byte) ([]byte, error) {
	if !filepath.IsAbs(program) {
		return nil, &Failure{OtherError, fmt.Errorf("%s is no absolute path", program)}
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Dir = "/"
	cmd.Stdin = bytes.NewReader(question)
	var out, errs limited
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = killedWithin
	together(cmd)
	switch err := cmd.Run(); {
	case err != nil:
		said := bytes.TrimSpace(errs.b.Bytes())
		return nil, &Failure{OtherError, fmt.Errorf("%w: %.200q", err, said)}
	case out.over:
		return nil, &Failure{InvalidAnswer, fmt.Errorf("an answer of more than %d bytes", maxAnswer)}
	}
	return out.b.Bytes(), nil
}

// post asks an HTTP server.
func post(ctx context.Context, client *http.Client, url string, question []byte) ([]byte, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(question))
	if err != nil {
		return nil, &Failure{OtherError, err}
	}
	q.Header.Set("Content-Type", "application/json")
	res, err := client.Do(q)
	if err != nil {
		return nil, &Failure{ServiceFailure, err}
	}
	defer res.Body.Close()
	switch {
	case res.StatusCode == http.StatusTooManyRequests:
		return nil, &Failure{Throttled, errors.New(res.Status)}
	case res.StatusCode >= 500:
		return nil, &Failure{ServiceFailure, errors.New(res.Status)}
	case res.StatusCode != http.StatusOK:
		return nil, &Failure{OtherError, errors.New(res.Status)}
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, &Failure{ServiceFailure, err}
	}
	if len(text) > maxAnswer {
		return nil, &Failure{InvalidAnswer, fmt.Errorf("an answer of more than %d bytes", maxAnswer)}
	}
	return text, nil
}

// parse reads an answer: all keys of its schema have to be there.
func parse(text []byte, schema string) (Answer, error) {
	var a struct {
		Allow    *bool     `json:"allow"`
		V1       *string   `json:"error-msg-on-failed-posture-compliance"`
		V2       *string   `json:"error-msg-on-denied-connection"`
		Statuses *[]string `json:"posture-compliance-statuses"`
		Schema   *string   `json:"schema-version"`
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return Answer{}, err
	}
	message, key := a.V2, "error-msg-on-denied-connection"
	if schema == "v1" {
		message, key = a.V1, "error-msg-on-failed-posture-compliance"
	}
	switch {
	case a.Allow == nil:
		return Answer{}, errors.New("no allow")
	case message == nil:
		return Answer{}, fmt.Errorf("no %s", key)
	case utf8.RuneCountInString(*message) > maxMessage:
		return Answer{}, fmt.Errorf("%s is longer than %d characters", key, maxMessage)
	case a.Statuses == nil || *a.Statuses == nil:
		return Answer{}, errors.New("no posture-compliance-statuses")
	case len(*a.Statuses) > maxStatuses || slices.ContainsFunc(*a.Statuses, func(s string) bool { return utf8.RuneCountInString(s) > maxStatus }):
		return Answer{}, fmt.Errorf("posture-compliance-statuses are more than %d, or longer than %d characters", maxStatuses, maxStatus)
	case a.Schema == nil || *a.Schema != schema:
		return Answer{}, fmt.Errorf("schema-version is not %s", schema)
	}
	return Answer{Allow: *a.Allow, Message: *message, Statuses: *a.Statuses}, nil
}
