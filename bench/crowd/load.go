//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

// The crowd is processes of its own, so that the one that watches is not kept waiting by it. They talk
// over a unix socket, a line of JSON for each order and each answer.

// perProcess is how many clients one process has, each with a socket: hosts often do not let it have more
// than twice as many files.
const perProcess = 10000

// setup is the first order: what all clients have in common. The answer is an empty line, when there
// is a certificate for each.
type setup struct {
	Server  netip.AddrPort
	Sources []netip.Addr // clients come from these in turn
	First   int          // number of the first client
	Clients int          // of this process
	CACert  string       // PEM
	CAKey   string
	WrapKey string // tls-crypt
}

// arrive is the next one: so many clients connect. The answer is landed.
type arrive struct {
	Clients int
	AtOnce  int
}

// landed is what became of them.
type landed struct {
	Took    []float64 // of each that connected, seconds
	Seconds float64   // until the last one
	Failed  map[string]int
}

// standing answers an empty order: how many sessions are alive, and why others ended.
type standing struct {
	Alive int
	Ended map[string]int
}

// load is the crowd.
type load struct {
	setup
	wrap  wrap.Method
	roots *x509.CertPool
	certs []tls.Certificate
	alive atomic.Int64
	next  int

	mu    sync.Mutex
	ended map[string]int // sessions that were connected
}

// garbagePercent is what the collector leaves of garbage in the crowd: its memory is nobody's concern, and its time
// is the server's.
const garbagePercent = 400

// serveLoad is the crowd's process. It ends when its parent does.
func serveLoad(ctx context.Context, socket string) error {
	debug.SetGCPercent(garbagePercent)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	in, out := json.NewDecoder(bufio.NewReader(conn)), json.NewEncoder(conn)
	l := &load{ended: map[string]int{}}
	if err := in.Decode(&l.setup); err != nil {
		return err
	}
	if err := l.prepare(); err != nil {
		return err
	}
	if err := out.Encode(struct{}{}); err != nil {
		return err
	}
	for {
		var order arrive
		if err := in.Decode(&order); err != nil {
			return nil // the parent is gone
		}
		var answer any
		if order.Clients == 0 {
			answer = l.standing()
		} else {
			answer = l.arrive(order)
		}
		if err := out.Encode(answer); err != nil {
			return nil
		}
	}
}

// prepare makes the certificates, which is no work of the server's.
func (l *load) prepare() error {
	limit := unix.Rlimit{Cur: uint64(l.Clients) + 1024, Max: uint64(l.Clients) + 1024}
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return err
	}
	if now.Cur < limit.Cur {
		limit.Max = max(limit.Max, now.Max)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			return fmt.Errorf("sockets for %d clients: %w", l.Clients, err)
		}
	}
	static, err := wrap.ParseStaticKey([]byte(l.WrapKey))
	if err != nil {
		return err
	}
	l.wrap = wrap.TLSCrypt(static)
	l.roots = x509.NewCertPool()
	l.roots.AppendCertsFromPEM([]byte(l.CACert))
	ca, err := tls.X509KeyPair([]byte(l.CACert), []byte(l.CAKey))
	if err != nil {
		return err
	}
	l.certs = make([]tls.Certificate, l.Clients)
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for i := w; i < len(l.certs) && errs[w] == nil; i += len(errs) {
				l.certs[i], errs[w] = issue(&ca, l.First+i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// issue makes a client certificate as endpoint/pki does: ECDSA P-256.
func issue(ca *tls.Certificate, i int) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(i) + 1<<32), Subject: pkix.Name{CommonName: fmt.Sprintf("client%05d", i)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Leaf, &key.PublicKey, ca.PrivateKey)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
}

// arrive connects clients and waits until each is connected or has failed.
func (l *load) arrive(order arrive) landed {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var last time.Time
	result := landed{Failed: map[string]int{}}
	turn := make(chan struct{}, order.AtOnce)
	start := time.Now()
	for range order.Clients {
		turn <- struct{}{}
		i := l.next
		l.next++
		wg.Add(1)
		began := time.Now()
		var once sync.Once
		said := func(err error) {
			once.Do(func() {
				mu.Lock()
				if err == nil {
					last = time.Now()
					result.Took = append(result.Took, last.Sub(began).Seconds())
				} else {
					result.Failed[err.Error()]++
				}
				mu.Unlock()
				<-turn
				wg.Done()
			})
		}
		go l.client(i, said)
	}
	wg.Wait()
	if len(result.Took) > 0 {
		result.Seconds = last.Sub(start).Seconds()
	}
	return result
}

// client is one client's life, which ends with the process or when the server ends it.
func (l *load) client(i int, said func(error)) {
	c, err := dial(l.Server, l.Sources[(l.First+i)%len(l.Sources)], l.tls(&l.certs[i]), l.wrap, nil)
	if err != nil {
		said(err)
		return
	}
	connected := false
	err = c.run(context.Background(), func() {
		connected = true
		l.alive.Add(1)
		said(nil)
	})
	if connected {
		l.alive.Add(-1)
		l.mu.Lock()
		l.ended[err.Error()]++
		l.mu.Unlock()
	}
	said(err)
}

func (l *load) tls(own *tls.Certificate) *tls.Config { return clientTLS(own, l.roots) }

func (l *load) standing() standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := standing{Alive: int(l.alive.Load()), Ended: map[string]int{}}
	for reason, n := range l.ended {
		s.Ended[reason] = n
	}
	return s
}

// readPEM reads one file that must be PEM.
func readPEM(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if block, _ := pem.Decode(text); block == nil {
		return "", fmt.Errorf("%s: no PEM", path)
	}
	return string(text), nil
}
