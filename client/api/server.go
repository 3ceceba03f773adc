package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/adit-vpn/adit/platform/ipc"
)

// Group is the group whose members may import and connect profiles of their own, on Linux.
const Group = "adit"

const (
	smallBody  = 64 << 10 // bytes of a request's JSON
	answerBody = 1 << 20  // the same with a browser's answer in it
	importBody = 16 << 20 // the same with a profile's text in it

	bodyTimeout  = 10 * time.Second // for a request to arrive
	frameTimeout = 10 * time.Second // for a watcher to take one snapshot
	drainTimeout = 5 * time.Second  // for replies under way when the server stops

	connsPerUser = 128 // open connections; more are closed at once
)

// LocalServer answers the local API. Use NewServer or NewViewServer; Serve may be called once.
type LocalServer struct {
	routes  []route
	members Members
	log     *slog.Logger
	// running counts handlers, because http.Server.Close does not wait for them; nor for one that has read its request and is about to
	// begin, which over keeps from doing so. mu guards over, and that nothing is added once somebody waits.
	mu      sync.Mutex
	over    bool
	running sync.WaitGroup
}

// enter says whether a handler may run; its end is running.Done.
func (s *LocalServer) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.running.Add(1)
	}
	return !s.over
}

// Members says who may have profiles and tunnels of their own, beside root.
type Members func(ipc.Peer) bool

// SystemMembers are the users in the group named Group (Linux), and whoever works at the machine's screen (macOS, Windows).
func SystemMembers(p ipc.Peer) bool { return p.Member(Group) }

// NewServer makes a server for all of the API. Failures that are not *Problem are
// written to log and shown to the caller only as "internal".
func NewServer(b Backend, members Members, log *slog.Logger) *LocalServer {
	return &LocalServer{routes: append(viewRoutes(b), backendRoutes(b)...), members: members, log: log}
}

// NewViewServer makes a server for the looking part of the API alone; the rest is
// answered with a Problem.
func NewViewServer(v Viewer, log *slog.Logger) *LocalServer {
	routes := viewRoutes(v)
	for _, r := range backendRoutes(nil) {
		r.serve = func(*call) (any, error) {
			return nil, NewProblem(CodeNotPermitted, map[string]string{"action": "do this with a tunnel in a process of its own; only status, routes and explain are there"})
		}
		r.stream = nil
		routes = append(routes, r)
	}
	return &LocalServer{routes: routes, members: SystemMembers, log: log}
}

// Serve answers on l, which must come from ipc.Listen, until ctx ends, then stops
// gracefully: watchers are let go, replies under way are finished. It closes l and returns
// when no handler runs any more; nil after ctx ended.
func (s *LocalServer) Serve(ctx context.Context, l net.Listener) error {
	base, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	server := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return withCaller(ctx, c.(*callerConn).who) },
		ReadHeaderTimeout: bodyTimeout,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() {
		done <- server.Serve(&callerListener{Listener: l, peerOf: ipc.PeerOf, members: s.members, log: s.log, open: map[ipc.Account]int{}})
	}()
	var err error
	select {
	case err = <-done: // the listener broke
		stop()
	case <-ctx.Done():
		stop()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		server.Shutdown(drain) // what it cannot finish is cut off by Close
		<-done
	}
	server.Close()
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// handler routes a request whose context has a Caller.
func (s *LocalServer) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes {
		mux.Handle(r.method+" "+r.path, s.guard(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, NewProblem(CodeRequestInvalid, map[string]string{"detail": "there is no " + r.Method + " " + r.URL.Path}))
	})
	return mux
}

// guard checks the permission column, then serves, and turns a panic into a Problem.
func (s *LocalServer) guard(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			s.fail(w, NewProblem(CodeServiceStopping, nil))
			return
		}
		defer s.running.Done()
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("panic while answering", "route", rt.path, "panic", v, "stack", string(debug.Stack()))
				s.fail(w, NewProblem(CodeInternal, nil))
			}
		}()
		caller, ok := callerOf(r.Context())
		if !ok || !rt.may.allows(caller) {
			s.fail(w, NewProblem(CodeNotPermitted, map[string]string{"action": rt.action}))
			return
		}
		c := &call{ctx: r.Context(), caller: caller, query: r.URL.Query()}
		if c.query.Get(asUser) == "true" {
			c.caller.Root = false
		}
		if rt.body > 0 {
			body, err := readBody(w, r, rt.body)
			if err != nil {
				s.fail(w, err)
				return
			}
			c.body = body
		}
		if rt.stream != nil {
			s.stream(w, rt, c)
			return
		}
		answer, err := rt.serve(c)
		if err != nil {
			s.fail(w, err)
			return
		}
		if answer == nil {
			answer = struct{}{}
		}
		s.reply(w, http.StatusOK, answer)
	}
}

// readBody reads all of a request's body, in bounded time and size.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	control := http.NewResponseController(w)
	// Not every ResponseWriter has deadlines (tests); real connections do.
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, NewProblem(CodeRequestInvalid, map[string]string{"detail": fmt.Sprintf("it is larger than %d bytes", limit)})
	}
	if err != nil {
		return nil, NewProblem(CodeRequestInvalid, map[string]string{"detail": "it did not arrive whole"})
	}
	return body, nil
}

// frame is one line of a stream. The last one has End or Problem.
type frame struct {
	Value   any      `json:"value,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
	End     bool     `json:"end,omitempty"`
}

// stream sends one JSON object per line, each with a deadline of its own, so that a
// watcher who does not read holds nothing but its own goroutine, and not for long.
func (s *LocalServer) stream(w http.ResponseWriter, rt route, c *call) {
	control := http.NewResponseController(w)
	encoder := json.NewEncoder(w)
	write := func(f frame) error {
		_ = control.SetWriteDeadline(time.Now().Add(frameTimeout))
		if err := encoder.Encode(f); err != nil {
			return err
		}
		return control.Flush()
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var failed error // of write: nobody is there to be told
	err := rt.stream(c, func(v any) error {
		failed = write(frame{Value: v})
		return failed
	})
	switch {
	case failed != nil:
		return
	case c.ctx.Err() != nil:
		// Either the watcher left, and the line goes nowhere, or the server stops.
		err = NewProblem(CodeServiceStopping, nil)
	case err == nil:
		_ = write(frame{End: true})
		return
	}
	_ = write(frame{Problem: s.problem(err)})
}

// problem returns what a caller may read of err. The text of an unexpected error stays in
// the log: it could name paths or hold secrets.
func (s *LocalServer) problem(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	s.log.Error("request failed", "err", err)
	return NewProblem(CodeInternal, nil)
}

func (s *LocalServer) fail(w http.ResponseWriter, err error) {
	p := s.problem(err)
	s.reply(w, httpStatus(p.Code), frame{Problem: p})
}

func (s *LocalServer) reply(w http.ResponseWriter, status int, answer any) {
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(answer); err != nil {
		s.log.Error("answer cannot be written as JSON", "err", err)
		status = http.StatusInternalServerError
		out.Reset()
		_ = json.NewEncoder(&out).Encode(frame{Problem: NewProblem(CodeInternal, nil)})
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // a caller who left needs no answer
}

// httpStatus helps people who look with curl; our client reads the Problem.
func httpStatus(code string) int {
	switch code {
	case CodeNotPermitted, CodeNotOwner, CodeManaged, CodeProfileManaged, CodeAlwaysOn, CodeServerNotAllowed:
		return http.StatusForbidden
	case CodeProfileNotFound:
		return http.StatusNotFound
	case CodeProfileExists, CodeProfileInUse, CodeProfileLocked, CodeAlreadyConnected, CodeAnotherSignsIn, CodeNotConnected, CodeQuestionGone:
		return http.StatusConflict
	case CodeRequestInvalid, CodeProfileInvalid, CodeProfileUnsupported, CodeProfileNameInvalid, CodeSettingInvalid, CodeDestinationInvalid:
		return http.StatusBadRequest
	case CodeServiceStopping:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// callerListener finds out who connects, before any of their bytes are looked at.
type callerListener struct {
	net.Listener
	peerOf  func(net.Conn) (ipc.Peer, error)
	members Members
	log     *slog.Logger

	mu     sync.Mutex
	open   map[ipc.Account]int // connections that are known
	silent []*callerConn       // those of whom the system tells nothing before they speak, oldest first
}

// Accept returns the next *callerConn. A connection without an identity, or one too
// many of the same user, is closed and passed over.
func (l *callerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := &callerConn{Conn: c, of: l}
		switch err := conn.identify(); {
		case errors.Is(err, ipc.ErrSilent):
			l.wait(conn)
		case err != nil:
			conn.Close()
			continue
		}
		return conn, nil
	}
}

// wait remembers a silent connection. Where there are too many the oldest has to go: whoever means to ask
// something does so at once.
func (l *callerListener) wait(c *callerConn) {
	l.mu.Lock()
	var late *callerConn
	if l.silent = append(l.silent, c); len(l.silent) > connsPerUser {
		late = l.silent[0]
	}
	l.mu.Unlock()
	if late != nil {
		late.Close()
	}
}

// enter counts a connection as its account's; false: there is no room.
func (l *callerListener) enter(c *callerConn, a ipc.Account) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[a] >= connsPerUser {
		return false
	}
	l.forgetLocked(c)
	l.open[a]++
	return true
}

// leave forgets a connection that has ended.
func (l *callerListener) leave(c *callerConn, a ipc.Account) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forgetLocked(c)
	if a == "" {
		return
	}
	if l.open[a]--; l.open[a] == 0 {
		delete(l.open, a)
	}
}

// forgetLocked takes a connection off the silent ones.
func (l *callerListener) forgetLocked(c *callerConn) {
	l.silent = slices.DeleteFunc(l.silent, func(o *callerConn) bool { return o == c })
}

// callerConn is a connection whose other end is known, at the latest when something was read from it.
type callerConn struct {
	net.Conn
	of *callerListener

	mu     sync.Mutex
	peer   ipc.Peer // with an empty Account: not known yet
	closed bool
	caller func() Caller // with the names that the system has for them: looked up at the first request
}

// identify finds out who is there, and whether there is room for one more of theirs.
func (c *callerConn) identify() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peer.Account != "" {
		return nil
	}
	peer, err := c.of.peerOf(c.Conn)
	switch {
	case errors.Is(err, ipc.ErrSilent):
		return err
	case err != nil:
		c.of.log.Warn("connection without identity refused", "err", err)
		return err
	case c.closed || peer.Account == "":
		return net.ErrClosed
	case !c.of.enter(c, peer.Account):
		c.of.log.Debug("too many connections of one user", "account", peer.Account)
		return net.ErrClosed
	}
	c.peer = peer
	c.caller = sync.OnceValue(func() Caller { return callerFrom(peer, c.of.members) })
	return nil
}

// Read reads, and returns nothing of somebody who is not known.
func (c *callerConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n == 0 {
		return 0, err
	}
	if who := c.identify(); who != nil {
		c.Close()
		return 0, who
	}
	return n, err
}

// who is the caller, as soon as that is known.
func (c *callerConn) who() (Caller, bool) {
	c.mu.Lock()
	caller := c.caller
	c.mu.Unlock()
	if caller == nil {
		return Caller{}, false
	}
	return caller(), true
}

// Close closes the connection and frees its place.
func (c *callerConn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.of.leave(c, c.peer.Account)
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

func callerFrom(p ipc.Peer, members Members) Caller {
	member := p.Root || members(p)
	return Caller{Account: p.Account, Name: p.User(), Root: p.Root, Member: member, Person: member || p.Person}
}

type callerKey struct{}

// withCaller has requests' contexts say who asks.
func withCaller(ctx context.Context, who func() (Caller, bool)) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(ctx context.Context) (Caller, bool) {
	who, ok := ctx.Value(callerKey{}).(func() (Caller, bool))
	if !ok {
		return Caller{}, false
	}
	return who()
}
