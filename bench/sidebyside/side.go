//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab"
)

const (
	target      = "10.0.0.5" // the server's own address behind the tunnel
	behind      = "10.0.0.0/16"
	iperfPort   = 5201
	profileName = "bench"
	maxClients  = 200
	soon        = 30 * time.Second
	settle      = 30 * time.Millisecond // after the tunnel before, whose end is nobody's fault here
	atOnce      = 4                     // clients of a crowd that connect at the same time
)

// side is one contender on its own hosts and wires:
//
//	client i ------------ server
//	198.18.i.2            198.18.i.1, and 10.0.0.5 on its loopback device
type side struct {
	name    string
	net     *lab.Net
	server  *lab.Node
	clients []*host
	tunnel  tunnel
	scene   scene
	isUp    bool

	mu       sync.Mutex
	daemons  []*lab.Proc // what always runs
	carriers []*lab.Proc // those at the server that move the tunnel's packets
	wires    []*slowWire
}

// host is one client.
type host struct {
	node     *lab.Node
	index    int
	remote   string      // the server's outer address
	profile  string      // file
	process  *lab.Proc   // what is the tunnel while it is connected, where a process is
	carriers []*lab.Proc // what moves the tunnel's packets
	api      *api.Client // adit's service
}

// newSide builds the network and starts everything but the tunnel itself.
func (b *bench) newSide(name, dir string, sc scene, k *keys) (*side, error) {
	n, err := lab.NewNet(dir)
	if err != nil {
		return nil, err
	}
	s := &side{name: name, scene: sc, net: n, tunnel: b.tunnel(name, k)}
	clients := 1
	if sc.crowd {
		clients = b.o.peers
	}
	if err := s.start(clients); err != nil {
		err = fmt.Errorf("%w\n%s", err, s.said())
		s.close()
		return nil, err
	}
	return s, nil
}

// start does what newSide says.
func (s *side) start(clients int) (err error) {
	if s.server, err = s.net.Node("server"); err != nil {
		return err
	}
	for i := range clients {
		c := &host{index: i, remote: fmt.Sprintf("198.18.%d.1", i)}
		if c.node, err = s.net.Node(fmt.Sprint("client", i)); err != nil {
			return err
		}
		if err = s.wire(c); err != nil {
			return err
		}
		s.clients = append(s.clients, c)
	}
	if err = s.server.Do(addTarget); err != nil {
		return err
	}
	if err = s.tunnel.serve(s); err != nil {
		return err
	}
	if err = s.each(func(c *host) error { return s.tunnel.attach(s, c) }); err != nil {
		return err
	}
	_, err = s.daemon(s.server, "Server listening", "iperf3", "--server", "--bind", target, "--forceflush")
	return err
}

// wire joins a client to the server.
func (s *side) wire(c *host) error {
	far, near := c.remote+"/30", fmt.Sprintf("198.18.%d.2/30", c.index)
	device := fmt.Sprint("eth", c.index)
	if s.scene.delay == 0 {
		return s.net.Wire(c.node, "eth0", []string{near}, s.server, device, []string{far})
	}
	w, err := newSlowWire(s.scene.delay, end{c.node, "eth0", near}, end{s.server, device, far})
	if err == nil {
		s.wires = append(s.wires, w)
	}
	return err
}

// addTarget gives the server the address that streams and pings go to.
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

func (s *side) client() *host { return s.clients[0] }

// reach is where the client's programs find the target.
func (s *side) reach() string {
	if s.name == userspaceName {
		return "127.0.0.1"
	}
	return target
}

// pings says whether ping goes through.
func (s *side) pings() bool { return s.name != userspaceName }

// daemon starts a program that runs as long as the side, and waits for a word of it.
func (s *side) daemon(n *lab.Node, word string, argv ...string) (*lab.Proc, error) {
	p, err := n.Start(argv...)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.daemons = append(s.daemons, p)
	s.mu.Unlock()
	return p, p.WaitFor(word, soon)
}

// each calls f for every client, some at the same time.
func (s *side) each(f func(*host) error) error {
	var wg sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	errs := make([]error, len(s.clients))
	for i, c := range s.clients {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			errs[i] = f(c)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// set brings the tunnels up or down.
func (s *side) set(ctx context.Context, up bool) error {
	if s.isUp == up {
		return nil
	}
	s.isUp = up
	if !up {
		return s.each(func(c *host) error { return s.tunnel.end(ctx, c) })
	}
	return s.each(func(c *host) error {
		if _, err := s.connect(ctx, c, s.tunnel.ways()[0]); err != nil {
			return err
		}
		return s.tunnel.check(ctx, c)
	})
}

// connect measures one way from the wish to the first answered ping.
func (s *side) connect(ctx context.Context, c *host, way string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	pinger, err := newPinger(c.node, c.index)
	if err != nil {
		return 0, err
	}
	defer pinger.close()
	time.Sleep(settle)
	start := time.Now()
	done, err := s.tunnel.begin(ctx, c, way)
	if err != nil {
		return 0, err
	}
	answered := start
	if s.pings() {
		if answered, err = pinger.first(ctx, target); err != nil {
			return 0, fmt.Errorf("%s: %w", way, err)
		}
	}
	return answered.Sub(start), <-done
}

// said is the end of what the side's programs printed.
func (s *side) said() string {
	var b bytes.Buffer
	procs := append([]*lab.Proc(nil), s.daemons...)
	for _, c := range s.clients {
		if c.process != nil {
			procs = append(procs, c.process)
		}
	}
	for _, p := range procs[:min(len(procs), 6)] {
		out := p.Out.String()
		fmt.Fprintf(&b, "--- %s's %s said:\n%s\n", s.name, filepath.Base(p.Cmd.Path), out[max(0, len(out)-4000):])
	}
	return b.String()
}

// close ends everything of this side.
func (s *side) close() {
	for _, w := range s.wires {
		w.close()
	}
	s.net.Close()
}

// isRefused says whether nobody listens yet.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}
