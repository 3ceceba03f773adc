// Package ec2 serves the part of AWS's EC2 Query API that is about Client VPN, and what the AWS CLI, the SDKs and Terraform ask
// beside it, over a Model. Names, forms and error codes are AWS's (Amazon EC2 API Reference, version 2016-11-15).
package ec2

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"

	"github.com/adit-vpn/adit/endpoint/ec2/query"
	"github.com/adit-vpn/adit/endpoint/model"
)

const (
	maxBody    = 2 << 20 // bytes of a request: a revocation list of 20,000 entries is 1.1 MB as a form
	maxConns   = 64      // of all callers; others wait
	maxAtOnce  = 32      // requests that are answered; others wait
	requestFor = 15 * time.Second
	answerFor  = 2 * time.Minute // longest for an answer: an endpoint that starts
	stsRegion  = "us-east-1"     // STS without a region of its own, and IAM, are signed for this one
	drainFor   = 5 * time.Second // for answers under way when the server stops
)

// Options are what a Server is told once.
type Options struct {
	Region  string // of the ARNs and scopes, such as us-east-1
	Account string // twelve digits
	Secrets Secrets
	Hosts   []string // names and addresses under which clients may call it, beside loopback and the listener's own; without ports
	Now     func() time.Time
	Log     *slog.Logger
}

// Secrets is what a Server proves callers with, and itself. A Server does not change it.
type Secrets struct {
	// Keys are the secret access keys by their id. With none, signatures are not checked, and the caller must see to it
	// that only this machine can connect.
	Keys map[string]string
	// Certificate is the listener's own, for TLS. Nil at the start: plain HTTP, for good.
	Certificate *tls.Certificate
}

// Server answers the API. It is safe for concurrent use; Serve may be called once.
type Server struct {
	m       Model
	o       Options
	secrets atomic.Pointer[Secrets]
	secret  []byte // proves that a page's token is ours
	slots   chan struct{}
	running sync.WaitGroup // http.Server.Close does not wait for handlers
}

// New makes a server over m.
func New(m Model, o Options) *Server {
	s := &Server{m: m, o: o, secret: make([]byte, 32), slots: make(chan struct{}, maxAtOnce)}
	rand.Read(s.secret) // it never fails
	s.secrets.Store(&o.Secrets)
	return s
}

// SetSecrets has requests that come from now on checked with others; keys that are not among them are good no more.
func (s *Server) SetSecrets(now Secrets) { s.secrets.Store(&now) }

// Serve answers on l until ctx ends, then lets answers under way be finished. It closes l, and returns when no
// handler runs any more; nil after ctx ended.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := &http.Server{
		Handler:           s,
		BaseContext:       func(net.Listener) context.Context { return base },
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       requestFor,
		WriteTimeout:      requestFor + answerFor,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.o.Log.Handler(), slog.LevelDebug),
	}
	l = netutil.LimitListener(l, maxConns)
	if s.secrets.Load().Certificate != nil {
		l = tls.NewListener(l, &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.secrets.Load().Certificate, nil
		}})
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	var err error
	select {
	case err = <-done: // the listener broke
		stop()
	case <-ctx.Done():
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainFor)
		defer cancel()
		server.Shutdown(drain) // what it cannot finish is cut off by Close
		stop()
		<-done
	}
	server.Close()
	s.running.Wait()
	return err
}

// ServeHTTP guards, reads and answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.running.Add(1)
	defer s.running.Done()
	id := requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	answer, refused := reply{}, s.guard(r)
	if refused != nil {
		answer = ec2Error(id, refused)
		answer.unread = true
	} else if answer = s.answer(w, r, id); answer.kind == "" {
		return
	}
	if answer.unread { // the rest of the request is not waited for, nor another one
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Content-Type", answer.kind)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(answer.status)
	w.Write(answer.body)
}

// guard looks at a request before any of its body is read: nothing that a browser sends for a web page passes.
func (s *Server) guard(r *http.Request) *fault {
	if r.Method != http.MethodPost {
		return &fault{http.StatusMethodNotAllowed, "UnsupportedProtocol", "Requests are POST with a form, as the AWS CLI and the SDKs make them."}
	}
	if !s.ours(r) {
		return &fault{http.StatusMisdirectedRequest, "InvalidRequest", "This server is not called " + quoted(r.Host) + ": use its address, or name it in the configuration."}
	}
	for name := range r.Header {
		if name == "Origin" || strings.HasPrefix(name, "Sec-Fetch-") {
			return &fault{http.StatusForbidden, "InvalidRequest", "Requests from web pages are not served."}
		}
	}
	if r.URL.Path != "/" || r.URL.RawQuery != "" {
		return &fault{http.StatusNotFound, "InvalidRequest", "Requests go to / and have their parameters in the body."}
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	return nil
}

func tooLarge() *fault {
	return &fault{http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "A request is at most 2 MiB."}
}

// ours says whether the request's Host names this server. A name that is not ours may be a web page's, whose owner lets it
// point here (DNS rebinding).
func (s *Server) ours(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(host), "["), "]")
	if host == "localhost" || slices.ContainsFunc(s.o.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	if addr.IsLoopback() {
		return true
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if local == nil {
		return false
	}
	at, err := netip.ParseAddrPort(local.String())
	return err == nil && at.Addr().Unmap() == addr.Unmap()
}

// answer reads the body of a request that passed the guard, and does what it asks. It has no kind when the caller went away. Only
// requests whose signature was checked, where any is, take one of the slots: nobody else can keep others waiting.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, id string) (out reply) {
	auth, signed := parseAuthorization(r.Header.Get("Authorization"))
	service, known := serviceOf(auth.service)
	defer func() {
		if v := recover(); v != nil {
			s.o.Log.Error("panic while answering", "panic", v, "stack", string(debug.Stack()))
			out = service.fails(id, internal())
		}
	}()
	unread := func(f *fault) reply {
		out := service.fails(id, f)
		out.unread = true
		return out
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != service.kind {
		return unread(&fault{http.StatusUnsupportedMediaType, "InvalidRequest", "The Content-Type is not " + service.kind + "."})
	}
	wrong, keys := notSigned, s.secrets.Load().Keys
	if signed {
		wrong = s.known(keys, auth, known)
	}
	if f := wrong.says(auth, s.o.Region); f != nil { // its body is not even read
		return unread(f)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return unread(tooLarge())
	}
	if err != nil {
		return unread(&fault{http.StatusBadRequest, "InvalidRequest", "The request did not arrive whole."})
	}
	if secret, checked := keys[auth.key]; checked {
		if f := auth.verify(secret, s.o.Now(), r, body).says(auth, s.o.Region); f != nil {
			return unread(f)
		}
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-r.Context().Done():
		return reply{}
	}
	text, err := service.answer(s, r, body, id)
	if err != nil {
		return service.fails(id, s.faultOf(err))
	}
	return reply{status: http.StatusOK, kind: service.kindOf, body: text}
}

// known looks at who says to ask, before anything is proven. Without keys that is all: no web page can send the header without being
// asked first (CORS), and the guard refuses that question.
func (s *Server) known(keys map[string]string, a authorization, service bool) authFault {
	switch _, ours := keys[a.key]; {
	case !service:
		return badScope
	case len(keys) == 0:
		return authOK
	case a.region != s.o.Region && (a.service != "sts" && a.service != "iam" || a.region != stsRegion):
		return badScope
	case !ours:
		return badKey
	}
	return authOK
}

// says is a fault in the words of AWS: EC2 says AuthFailure where others tell keys from signatures.
func (f authFault) says(a authorization, region string) *fault {
	ec2 := a.service == "ec2"
	switch f {
	case authOK:
		return nil
	case notSigned:
		return &fault{http.StatusForbidden, "MissingAuthenticationToken", "Request is missing Authentication Token: an Authorization header of the kind " + signatureMethod + "."}
	case badForm:
		return &fault{http.StatusBadRequest, "IncompleteSignature", "The Authorization header, its scope and X-Amz-Date do not fit together."}
	case badTime:
		return &fault{http.StatusBadRequest, "RequestExpired", "Request has expired: it was signed more than 15 minutes away from this server's clock."}
	case badScope:
		if _, known := serviceOf(a.service); !known {
			return &fault{http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a service that is here, ec2, sts, iam or acm, not " + quoted(a.service) + "."}
		}
		if ec2 {
			return &fault{http.StatusUnauthorized, "AuthFailure", "Credential should be scoped to a valid region, not " + quoted(a.region) + ": this server is " + region + "."}
		}
		return &fault{http.StatusForbidden, "SignatureDoesNotMatch", "Credential should be scoped to a valid region."}
	}
	if ec2 {
		return &fault{http.StatusUnauthorized, "AuthFailure", "AWS was not able to validate the provided access credentials"}
	}
	if f == badKey {
		return &fault{http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid."}
	}
	return &fault{http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method."}
}

// fault is a refusal with its HTTP status.
type fault struct {
	status        int
	code, message string
}

func internal() *fault {
	return &fault{http.StatusInternalServerError, "InternalError", "An internal error has occurred: the endpoint's log says more."}
}

// faultOf says an error of a request as AWS does. What is not made for callers goes into the log.
func (s *Server) faultOf(err error) *fault {
	var q *query.Error
	if errors.As(err, &q) {
		return &fault{http.StatusBadRequest, q.Code, q.Message}
	}
	var m *model.Error
	if errors.As(err, &m) {
		status := http.StatusBadRequest
		switch m.Code {
		case "DryRunOperation":
			status = http.StatusPreconditionFailed
		case "UnauthorizedOperation":
			status = http.StatusForbidden
		case "InternalError":
			status = http.StatusInternalServerError
		case model.CodeNoSuchEntity:
			status = http.StatusNotFound
		case model.CodeAlreadyExists, model.CodeConflict, model.CodeQuota:
			status = http.StatusConflict
		}
		return &fault{status, m.Code, m.Message}
	}
	s.o.Log.Error("a request of the API failed", "error", err)
	return internal()
}

// requestID is a random UUID (RFC 9562, version 4).
func requestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// quoted is text of a caller as an error may repeat it.
func quoted(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	return strings.ToValidUTF8(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, "'"+s+"'"), "?")
}
