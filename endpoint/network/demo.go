package network

import (
	"context"
	"encoding/binary"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
)

// maxDemoBytes bounds /bytes?n=.
const maxDemoBytes = 1 << 30

// demoNames have DemoAddress; all other names do not exist.
func demoNames(name string) bool {
	name = strings.ToLower(name)
	return name == "demo.adit.test." || name == "whoami.adit.test."
}

// demo is the web server of the built-in demo network.
type demo struct {
	server *http.Server
	conns  chan net.Conn
	done   chan struct{} // closed when Serve is through
	once   sync.Once
	closed chan struct{}
}

func newDemo(log *slog.Logger) *demo {
	d := &demo{conns: make(chan net.Conn), done: make(chan struct{}), closed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ip", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(w, hostOf(r.RemoteAddr))
	})
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
		if err != nil || n < 0 || n > maxDemoBytes {
			http.Error(w, fmt.Sprintf("n must be 0 to %d", maxDemoBytes), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		io.CopyN(w, zeros{}, n) // an error means that the client has gone
	})
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, demoPage, html.EscapeString(hostOf(r.RemoteAddr)), html.EscapeString(r.URL.Path))
	})
	d.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	go func() {
		defer close(d.done)
		d.server.Serve(d) // returns ErrServerClosed at close
	}()
	return d
}

const demoPage = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>You are through</title>
<body style="font:1.2em sans-serif;max-width:40em;margin:3em auto">
<h1>You are through the tunnel</h1>
<p>Your address here: <b>%s</b></p>
<p>You asked for: <code>%s</code></p>
<p>This page lives inside the endpoint and on no other network.
<a href="/ip">/ip</a> is your address as text, <a href="/bytes?n=10000000">/bytes?n=…</a> is data for a speed test.</p>
</body></html>
`

func hostOf(addrPort string) string {
	if a, err := netip.ParseAddrPort(addrPort); err == nil {
		return a.Addr().String()
	}
	return addrPort
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// Accept, Close and Addr make the demo a net.Listener for its own server.
func (d *demo) Accept() (net.Conn, error) {
	select {
	case c := <-d.conns:
		return c, nil
	case <-d.closed:
		return nil, net.ErrClosed
	}
}

func (d *demo) Close() error {
	d.once.Do(func() { close(d.closed) })
	return nil
}

func (d *demo) Addr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(DemoAddress(), 80))
}

// close ends the server and its connections.
func (d *demo) close() {
	d.server.Close()
	d.Close()
	<-d.done
}

// notifyConn tells when the server is done with it.
type notifyConn struct {
	net.Conn
	once sync.Once
	done chan struct{}
}

func (c *notifyConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { close(c.done) })
	return err
}

// serveHTTP hands a connection to the server and waits for its end.
func (d *demo) serveHTTP(ctx context.Context, conn net.Conn) {
	c := &notifyConn{Conn: conn, done: make(chan struct{})}
	defer c.Close()
	select {
	case d.conns <- c:
	case <-d.closed:
		return
	case <-ctx.Done():
		return
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		c.Close()
	}
}

// dnsIdle ends a DNS connection over TCP.
const dnsIdle = 10 * time.Second

// serveDNSStream answers over TCP (RFC 7766: two bytes of length before each message).
func serveDNSStream(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	for {
		conn.SetDeadline(time.Now().Add(dnsIdle))
		var head [2]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := answerDNS(query)
		if answer == nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
			return
		}
	}
}

// serveDNSPackets answers one UDP flow until it is idle.
func serveDNSPackets(ctx context.Context, conn *gonet.UDPConn, idle time.Duration) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, 4096)
	for {
		conn.SetReadDeadline(time.Now().Add(idle))
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if answer := answerDNS(buf[:n]); answer != nil {
			if _, err := conn.Write(answer); err != nil {
				return
			}
		}
	}
}

// answerDNS answers one query (RFC 1035): the demo's names have one A record,
// everything else is NXDOMAIN. nil means that it was no query.
func answerDNS(query []byte) []byte {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil || head.Response {
		return nil
	}
	reply := dnsmessage.Message{Header: dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true,
		OpCode: head.OpCode, RecursionDesired: head.RecursionDesired}}
	q, err := p.Question()
	switch {
	case head.OpCode != 0:
		reply.RCode = dnsmessage.RCodeNotImplemented
	case err != nil:
		reply.RCode = dnsmessage.RCodeFormatError
	default:
		reply.Questions = []dnsmessage.Question{q}
		switch {
		case q.Class != dnsmessage.ClassINET || !demoNames(q.Name.String()):
			reply.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA || q.Type == dnsmessage.TypeALL:
			reply.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 60},
				Body:   &dnsmessage.AResource{A: DemoAddress().As4()}}}
		}
	}
	out, err := reply.Pack()
	if err != nil {
		return nil
	}
	return out
}
