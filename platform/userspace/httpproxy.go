package userspace

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"
)

// HTTPProxy is an HTTP/1.1 proxy (RFC 9110 §3.7, §9.3.6): CONNECT, and requests
// with an absolute http URL. With credentials it asks for Basic authentication.
type HTTPProxy struct {
	host        *Host
	log         *slog.Logger
	credentials *Credentials
}

// NewHTTPProxy reaches everything through host; nil credentials ask for none.
func NewHTTPProxy(host *Host, log *slog.Logger, credentials *Credentials) *HTTPProxy {
	return &HTTPProxy{host: host, log: log, credentials: credentials}
}

// Serve takes connections until ctx ends, and then returns nil with none left.
func (p *HTTPProxy) Serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup // a count per connection, and per request for those hijacked
	defer all.Wait()
	defer cancel()
	transport := &http.Transport{
		DialContext:           p.dial,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       time.Minute,
		ResponseHeaderTimeout: 5 * time.Minute,
	}
	defer transport.CloseIdleConnections()
	errorLog := slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)
	forward := &httputil.ReverseProxy{
		Rewrite:       passOn,
		Transport:     transport,
		FlushInterval: -1,
		ErrorHandler:  p.fail,
		ErrorLog:      errorLog,
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			all.Add(1)
			defer all.Done()
			switch {
			case !p.admitted(r):
				w.Header().Set("Proxy-Authenticate", `Basic realm="adit"`)
				http.Error(w, "proxy credentials wanted", http.StatusProxyAuthRequired)
			case r.Method == http.MethodConnect:
				p.connect(ctx, w, r)
			case r.URL.Scheme != "http" || r.URL.Host == "":
				http.Error(w, "this is a proxy: ask for an absolute http:// URL, or CONNECT", http.StatusBadRequest)
			default:
				forward.ServeHTTP(w, r)
			}
		}),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				all.Add(1)
			case http.StateClosed, http.StateHijacked:
				all.Done()
			}
		},
		ReadHeaderTimeout: handshakeTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          errorLog,
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(closed); server.Close() })
	err := server.Serve(limit(listener))
	ended := ctx.Err() != nil
	if stop() {
		server.Close()
	} else {
		<-closed
	}
	if ended && errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// passOn leaves a request as the program made it. Hop-by-hop headers are gone
// already; what a reverse proxy would take away besides comes back.
func passOn(r *httputil.ProxyRequest) {
	r.Out.Host = r.In.Host
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

func (p *HTTPProxy) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.host.DialContext(ctx, network, address)
}

// admitted checks the Proxy-Authorization header (RFC 7617).
func (p *HTTPProxy) admitted(r *http.Request) bool {
	if p.credentials == nil {
		return true
	}
	scheme, encoded, _ := strings.Cut(r.Header.Get("Proxy-Authorization"), " ")
	plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	user, password, ok := strings.Cut(string(plain), ":")
	return err == nil && ok && strings.EqualFold(scheme, "Basic") && p.credentials.match(user, password)
}

// connect answers CONNECT and becomes a pipe.
func (p *HTTPProxy) connect(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	far, err := p.dial(r.Context(), "tcp", r.URL.Host)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	defer far.Close()
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer near.Close()
	near.SetDeadline(time.Time{})
	if _, err := near.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return
	}
	relay(ctx, &bufferedConn{near, buffered.Reader}, far)
}

// fail answers with what went wrong in words, since a person may see it.
func (p *HTTPProxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	status := http.StatusBadGateway
	if timedOut(err) {
		status = http.StatusGatewayTimeout
	}
	p.log.Info("proxy request failed", "method", r.Method, "host", r.URL.Host, "error", err)
	http.Error(w, "adit: "+err.Error(), status)
}

// bufferedConn reads first what was read too far.
type bufferedConn struct {
	net.Conn
	r *bufio.Reader
}

func (c *bufferedConn) Read(b []byte) (int, error) { return c.r.Read(b) }

// CloseWrite passes a half-close on where the connection has it.
func (c *bufferedConn) CloseWrite() error { return closeWrite(c.Conn) }
