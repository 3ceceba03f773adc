//go:build linux

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

// The hosts:
//
//	crowd 198.18.0.2 ------ 198.18.0.1 server, with 10.0.0.5 on its loopback device
//	watch 198.18.1.2 ------ 198.18.1.1
//
// The crowd's clients come from addresses of crowdNet, which are its own.
const (
	target     = "10.0.0.5"
	serverAddr = "198.18.0.1"
	watchAddr  = "198.18.1.1"
	port       = 1194
	crowdNet   = "172.16.0.0/12"
	maxClients = 28000 // addresses of the endpoint's pool
	soon       = 30 * time.Second
)

// site is the hosts, what runs on them and what they have in common.
type site struct {
	dir                  string
	net                  *lab.Net
	server, crowd, watch *lab.Node
	pki                  *pki.PKI
	wrapKey              string
	daemon               *lab.Proc
	crowds               []*crowdProcess
}

// crowdProcess is one process of the crowd.
type crowdProcess struct {
	proc *lab.Proc
	conn net.Conn
	in   *json.Decoder
	room int // clients that have not been asked to come
}

// measure does all of it.
func measure(ctx context.Context, o options, program string) (r *Result, err error) {
	dir, err := os.MkdirTemp("", "adit-crowd-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	n, err := lab.NewNet(dir)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	s := &site{dir: dir, net: n}
	defer func() {
		if s.daemon != nil && (err != nil && ctx.Err() == nil || o.verbose) {
			out := s.daemon.Out.String()
			fmt.Fprintf(os.Stderr, "--- the server said at the end:\n%s\n", out[max(0, len(out)-4000):])
		}
	}()
	if err := s.build(); err != nil {
		return nil, err
	}
	if err := s.serve(o.server, program); err != nil {
		return nil, err
	}
	for first, all := 0, o.clients+o.storm; first < all; first += perProcess {
		c, err := s.gather(ctx, o, first, min(perProcess, all-first))
		if err != nil {
			return nil, err
		}
		defer c.conn.Close()
		defer context.AfterFunc(ctx, func() { c.conn.Close() })()
		s.crowds = append(s.crowds, c)
	}
	r, err = s.run(ctx, o)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return r, err
}

// build makes hosts, wires and certificates.
func (s *site) build() (err error) {
	for _, host := range []struct {
		name string
		node **lab.Node
	}{{"server", &s.server}, {"crowd", &s.crowd}, {"watch", &s.watch}} {
		if *host.node, err = s.net.Node(host.name); err != nil {
			return err
		}
	}
	if err := s.net.Wire(s.crowd, "eth0", []string{"198.18.0.2/30"}, s.server, "eth0", []string{serverAddr + "/30"}); err != nil {
		return err
	}
	if err := s.net.Wire(s.watch, "eth0", []string{"198.18.1.2/30"}, s.server, "eth1", []string{watchAddr + "/30"}); err != nil {
		return err
	}
	if err := s.server.Route(crowdNet, "198.18.0.2"); err != nil {
		return err
	}
	if err := s.crowd.Do(ownNet); err != nil {
		return err
	}
	if err := s.server.Do(addTarget); err != nil {
		return err
	}
	if s.pki, err = pki.Open(filepath.Join(s.dir, "pki")); err != nil {
		return err
	}
	if err := s.pki.Init(pki.Options{}); err != nil {
		return err
	}
	if _, err := s.pki.Server("server", pki.Options{}); err != nil {
		return err
	}
	static, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		return err
	}
	s.wrapKey = string(static.Text())
	return os.WriteFile(s.wrapFile(), []byte(s.wrapKey), 0o600)
}

func (s *site) wrapFile() string { return filepath.Join(s.dir, "wrap.key") }

// ownNet makes all of crowdNet addresses of this host.
func ownNet() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	_, all, err := net.ParseCIDR(crowdNet)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: all, Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL, Scope: netlink.SCOPE_HOST})
}

// addTarget gives the server the address that the stream goes to.
func addTarget() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(target + "/32")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, addr)
}

// gather starts a process of the crowd for n clients, and waits until it has their certificates.
func (s *site) gather(ctx context.Context, o options, first, n int) (*crowdProcess, error) {
	socket := filepath.Join(s.crowd.Dir, fmt.Sprintf("crowd%d.sock", first))
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &crowdProcess{room: n}
	if c.proc, err = s.crowd.Start(self, "-load", socket); err != nil {
		return nil, err
	}
	if err := l.(*net.UnixListener).SetDeadline(time.Now().Add(soon)); err != nil {
		return nil, err
	}
	if c.conn, err = l.Accept(); err != nil {
		return nil, fmt.Errorf("the crowd's process did not come: %w: %s", err, c.proc.Out)
	}
	c.in = json.NewDecoder(c.conn)
	order := setup{Server: netip.AddrPortFrom(netip.MustParseAddr(serverAddr), port), First: first, Clients: n, WrapKey: s.wrapKey}
	for i := range max(1, orAll(o.sources, o.clients+o.storm)) {
		b := netip.MustParsePrefix(crowdNet).Addr().As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i)+1)
		order.Sources = append(order.Sources, netip.AddrFrom4(b))
	}
	if order.CACert, err = readPEM(s.pki.CAFile()); err != nil {
		return nil, err
	}
	if order.CAKey, err = readPEM(filepath.Join(s.pki.Dir(), "private", "ca.key")); err != nil {
		return nil, err
	}
	var ready struct{}
	if err := c.ask(order, &ready); err != nil {
		c.conn.Close()
		return nil, err
	}
	return c, nil
}

func orAll(n, all int) int {
	if n == 0 {
		return all
	}
	return n
}

// ask gives the process one order and waits for the answer.
func (c *crowdProcess) ask(order, answer any) error {
	err := json.NewEncoder(c.conn).Encode(order)
	if err == nil {
		err = c.in.Decode(answer)
	}
	if err != nil {
		return fmt.Errorf("the crowd's process: %w: %s", err, c.proc.Out)
	}
	return nil
}

// arrive lets n clients come, and waits until each is connected or has failed.
func (s *site) arrive(n, atOnce int) (*Arrival, error) {
	before, err := s.processors()
	if err != nil {
		return nil, err
	}
	results, errs := make([]landed, len(s.crowds)), make([]error, len(s.crowds))
	var wg sync.WaitGroup
	for i, c := range s.crowds {
		// Each process has its share, up to the room that it has.
		rest, others := n, 0
		for _, later := range s.crowds[i+1:] {
			others += later.room
		}
		share := min(max(rest/(len(s.crowds)-i), rest-others), c.room)
		n, c.room = n-share, c.room-share
		if share > 0 {
			wg.Go(func() { errs[i] = c.ask(arrive{Clients: share, AtOnce: max(1, atOnce/len(s.crowds))}, &results[i]) })
		}
	}
	wg.Wait()
	all := landed{Failed: map[string]int{}}
	for _, r := range results {
		all.Took, all.Seconds = append(all.Took, r.Took...), max(all.Seconds, r.Seconds)
		for reason, n := range r.Failed {
			all.Failed[reason] += n
		}
	}
	a := newArrival(all)
	after, err := s.processors()
	if a.Connected > 0 && err == nil {
		each := func(i int) float64 { return (after[i] - before[i]).Seconds() / float64(a.Connected) }
		a.Processor, a.CrowdProcessor, a.WatchProcessor = each(0), each(1), each(2)
	}
	return a, errors.Join(append(errs, err)...)
}

// processors is the processor time that the server, the crowd and this process have used so far.
func (s *site) processors() (t [3]time.Duration, err error) {
	if t[0], err = used(s.daemon.Cmd.Process.Pid); err != nil {
		return t, err
	}
	for _, c := range s.crowds {
		one, err := used(c.proc.Cmd.Process.Pid)
		if err != nil {
			return t, err
		}
		t[1] += one
	}
	t[2], err = used(os.Getpid())
	return t, err
}

// run lets the crowd come and looks at the server.
func (s *site) run(ctx context.Context, o options) (*Result, error) {
	r := &Result{}
	pid := s.daemon.Cmd.Process.Pid
	var err error
	if r.Before, _, err = memory(pid); err != nil {
		return nil, err
	}
	if o.clients > 0 {
		if r.Clients, err = s.arrive(o.clients, o.atOnce); err != nil {
			return nil, err
		}
	}
	if o.storm > 0 {
		if err := s.storm(ctx, o, r); err != nil {
			return nil, err
		}
	}
	before, err := used(pid)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	select {
	case <-time.After(o.hold):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	r.Held = time.Since(start).Seconds()
	after, err := used(pid)
	if err != nil {
		return nil, err
	}
	r.Processor = (after - before).Seconds() / r.Held
	if r.Memory, r.Highest, err = memory(pid); err != nil {
		return nil, err
	}
	r.Lost = map[string]int{}
	for _, c := range s.crowds {
		var now standing
		if err := c.ask(arrive{}, &now); err != nil {
			return nil, err
		}
		r.Connected += now.Alive
		for reason, n := range now.Ended {
			r.Lost[reason] += n
		}
	}
	return r, nil
}

// storm lets clients come all at once, and watches a session meanwhile.
func (s *site) storm(ctx context.Context, o options, r *Result) (err error) {
	if o.quiet <= 0 {
		r.Storm, err = s.arrive(o.storm, o.storm)
		return err
	}
	own, roots, err := s.watchCert()
	if err != nil {
		return err
	}
	static, err := wrap.ParseStaticKey([]byte(s.wrapKey))
	if err != nil {
		return err
	}
	// All other processes have begun. One processor is enough here, and threads that wake each other take the others' time.
	if err := comeFirst(); err != nil {
		return err
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	w, err := newWatcher(s.watch, s.server, func(inner func([]byte)) (*client, error) {
		return dial(netip.AddrPortFrom(netip.MustParseAddr(watchAddr), port), netip.IPv4Unspecified(), clientTLS(&own, roots), wrap.TLSCrypt(static), inner)
	})
	if err != nil {
		return err
	}
	defer w.close()
	quiet, cancel := context.WithTimeout(ctx, o.quiet)
	defer cancel()
	if r.Quiet, err = w.watch(quiet); err != nil {
		return err
	}
	busy, over := context.WithCancel(ctx)
	defer over()
	asked := make(chan error, 1)
	go func() {
		defer over()
		var err error
		r.Storm, err = s.arrive(o.storm, o.storm)
		asked <- err
	}()
	r.Busy, err = w.watch(busy)
	return errors.Join(err, <-asked)
}

// watchCert is the certificate of the session that is watched.
func (s *site) watchCert() (own tls.Certificate, roots *x509.CertPool, err error) {
	if _, err = s.pki.Client("watch", pki.Options{}); err != nil {
		return own, nil, err
	}
	b, err := s.pki.Bundle("watch")
	if err != nil {
		return own, nil, err
	}
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(b.CA)
	own, err = tls.X509KeyPair(b.Cert, []byte(b.Key))
	return own, roots, err
}
