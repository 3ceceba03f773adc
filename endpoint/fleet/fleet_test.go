package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"github.com/adit-vpn/adit/platform/udp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// yard makes endpoints out of one PKI.
type yard struct {
	t      *testing.T
	dir    string
	closed []string
	logs   []string // where the logs of endpoints went, with each Follow
	failed chan string
	again  bool          // what has failed is started again
	broken chan struct{} // not nil: packets of networks end with an error once it is closed
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{t: t, dir: t.TempDir(), failed: make(chan string, 8)}
	p, err := pki.Open(filepath.Join(y.dir, "pki"))
	if err == nil {
		err = p.Init(pki.Options{})
	}
	if err == nil {
		_, err = p.Server(endpoint.ServerName, pki.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return y
}

// config is an endpoint at a port, with the demo network.
func (y *yard) config(port int) endpoint.Config {
	y.t.Helper()
	text := endpoint.BuiltinText(netip.MustParseAddrPort(fmt.Sprintf("127.0.0.1:%d", port)), "udp", "userspace")
	c, err := endpoint.ParseConfig(filepath.Join(y.dir, "adit.yaml"), []byte(text))
	if err != nil {
		y.t.Fatal(err)
	}
	c.ControlWrap = endpoint.ControlWrap{Type: "none"}
	return c
}

func (y *yard) fleet() *Fleet {
	open := func(ctx context.Context, id string, cfg endpoint.Config, history *endpoint.History) (Opened, error) {
		nw, err := network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU, Own: cfg.Listen, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return Opened{}, err
		}
		var target network.Network = nw
		if y.broken != nil {
			target = breaking{nw, []platform.TUN{breakingTUN{nw.Queues()[0], y.broken}}}
		}
		ctx = context.WithoutCancel(ctx)
		srv, err := endpoint.New(cfg, endpoint.Leaves{
			Now: time.Now, ReadFile: os.ReadFile, Network: target, EndpointID: id, History: history,
			ListenUDP: func(a netip.AddrPort) ([]udp.Conn, error) { return udp.ListenShared(ctx, a, 1, udp.Options{}) },
			ListenTCP: func(netip.AddrPort) (net.Listener, error) { return nil, errors.New("no TCP here") },
		})
		if err != nil {
			nw.Close()
			return Opened{}, err
		}
		return Opened{Server: srv, Beside: func(ctx context.Context) { <-ctx.Done() }, Close: func() { y.closed = append(y.closed, id) },
			Follow: func(cfg endpoint.Config) error {
				if cfg.ConnectionLog.File == "nowhere" {
					return errors.New("no such place")
				}
				y.logs = append(y.logs, cfg.ConnectionLog.File)
				return nil
			}}, nil
	}
	return New(Leaves{
		Open: open, History: func() *endpoint.History { return endpoint.NewHistory(time.Now) },
		Export: func(endpoint.Config, string) ([]byte, error) { return []byte("client\n"), nil },
		Failed: func(id string, err error) bool { y.failed <- id; return y.again },
	})
}

// ports are free ones.
func ports(t *testing.T, n int) []int {
	t.Helper()
	var out []int
	for range n {
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out = append(out, c.LocalAddr().(*net.UDPAddr).Port)
	}
	return out
}

func taken(t *testing.T, port int) bool {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err == nil {
		c.Close()
	}
	return err != nil
}

// TestFleet: endpoints come and go one by one.
func TestFleet(t *testing.T) {
	y := newYard(t)
	f := y.fleet()
	defer f.Close()
	ctx, started := context.WithCancel(context.Background())
	at := ports(t, 3)
	for i, id := range []string{"a", "b"} {
		if err := f.Apply(ctx, id, y.config(at[i])); err != nil {
			t.Fatal(err)
		}
	}
	started() // who asked has gone
	ctx = context.Background()
	if !taken(t, at[0]) || !taken(t, at[1]) || !slices.Equal(f.IDs(), []string{"a", "b"}) {
		t.Fatalf("running: %v", f.IDs())
	}
	servers := f.Servers()

	split := y.config(at[0])
	split.SplitTunnel = false
	if err := f.Apply(ctx, "a", split); err != nil {
		t.Fatal(err)
	}
	if cfg, _ := f.Config("a"); cfg.SplitTunnel || f.Servers()[0] != servers[0] {
		t.Error("a reload started the endpoint again, or did nothing")
	}
	for _, file := range []string{"log", "nowhere"} {
		logged := split
		logged.ConnectionLog.File = file
		if err := f.Apply(ctx, "a", logged); (err != nil) != (file == "nowhere") || f.Servers()[0] != servers[0] {
			t.Errorf("log to %s: %v", file, err)
		}
	}
	broken := split
	broken.ServerCertificate = endpoint.CertificateFiles{Cert: "none", Key: "none"}
	if err := f.Apply(ctx, "a", broken); err == nil {
		t.Error("reloaded without a certificate")
	}
	f.Reopen()
	if !slices.Equal(y.logs, []string{"", "log", "", "log", "log", ""}) {
		t.Errorf("logs went to %q", y.logs)
	}
	if err := f.Apply(ctx, "a", y.config(at[2])); err != nil || taken(t, at[0]) || !taken(t, at[2]) {
		t.Errorf("another port: %v", err)
	}
	if err := f.Apply(ctx, "a", y.config(at[1])); err == nil {
		t.Error("two endpoints have one port")
	}
	if cfg, ok := f.Config("a"); !ok || int(cfg.Listen[0].Port()) != at[2] || !taken(t, at[2]) {
		t.Error("after a port that another has, the endpoint is not where it was")
	}
	if err := f.Apply(ctx, "c", y.config(at[1])); err == nil || slices.Contains(f.IDs(), "c") {
		t.Errorf("a third one on a port that is taken: %v, %v", err, f.IDs())
	}
	if _, err := f.Reload(ctx, "b", y.config(at[0])); err == nil {
		t.Error("Reload moved an endpoint")
	}
	if err := f.Stop(ctx, "a"); err != nil || taken(t, at[2]) || !taken(t, at[1]) || f.Servers()[0] != servers[1] {
		t.Errorf("stop: %v", err)
	}
	if err := f.Stop(ctx, "a"); err != nil {
		t.Errorf("stop again: %v", err)
	}
	if len(f.Connections("a")) != 0 || len(f.AllConnections()) != 0 || f.Connections("x") != nil {
		t.Error("connections of a stopped endpoint")
	}
	if _, _, ok := f.Policy("a"); ok {
		t.Error("the policy of a stopped endpoint")
	}
	if ids := f.Terminate("a", "x", ""); ids != nil {
		t.Errorf("terminated %v", ids)
	}
	f.Close()
	if taken(t, at[1]) || !slices.Equal(y.closed, []string{"a", "a", "a", "c", "a", "b"}) {
		t.Errorf("closed: %v", y.closed)
	}
	if err := f.Apply(ctx, "d", y.config(at[0])); !errors.Is(err, errClosed) {
		t.Errorf("started after the end: %v", err)
	}
	if len(y.failed) != 0 {
		t.Errorf("%s failed", <-y.failed)
	}
}

// TestEndsAtOnce: an endpoint that ends by itself before its start has returned is none.
func TestEndsAtOnce(t *testing.T) {
	y := newYard(t)
	y.broken = make(chan struct{})
	f := y.fleet()
	defer f.Close()
	failed, started := make(chan struct{}), make(chan struct{})
	f.l.Failed = func(string, error) bool {
		close(failed)
		<-started // it is still about to end
		return true
	}
	open := f.l.Open
	f.l.Open = func(ctx context.Context, id string, cfg endpoint.Config, h *endpoint.History) (Opened, error) {
		o, err := open(ctx, id, cfg, h)
		o.Ready = func() {
			close(y.broken)
			<-failed
		}
		return o, err
	}
	err := f.Apply(t.Context(), "a", y.config(ports(t, 1)[0]))
	close(started)
	if err == nil || len(f.IDs()) != 0 {
		t.Errorf("%v, runs: %v", err, f.IDs())
	}
}

// TestRevived: an endpoint that ends by itself is started again, unless it is stopped first.
func TestRevived(t *testing.T) {
	y := newYard(t)
	y.again = true
	f := y.fleet()
	defer f.Close()
	ctx := t.Context()
	at := ports(t, 1)
	var err error
	end := func() { // of the one that was started last
		close(y.broken)
		y.broken = nil
		<-y.failed
	}
	runs := func() {
		t.Helper()
		for late := time.Now().Add(20 * time.Second); !f.Running("a"); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(late) {
				t.Fatal("it is not started again")
			}
		}
	}
	y.broken = make(chan struct{})
	if err := f.Apply(ctx, "a", y.config(at[0])); err != nil {
		t.Fatal(err)
	}
	end()
	runs()
	if cfg, _ := f.Config("a"); int(cfg.Listen[0].Port()) != at[0] || !taken(t, at[0]) {
		t.Errorf("it runs at %v", cfg.Listen)
	}
	if err := f.Stop(ctx, "a"); err != nil {
		t.Fatal(err)
	}

	// What does not succeed at first is tried again.
	y.broken = make(chan struct{})
	if err := f.Apply(ctx, "a", y.config(at[0])); err != nil {
		t.Fatal(err)
	}
	open, refused := f.l.Open, make(chan struct{}, 1)
	var tries atomic.Int32
	f.change.Lock() // Open is asked under it
	f.l.Open = func(ctx context.Context, id string, cfg endpoint.Config, h *endpoint.History) (Opened, error) {
		if tries.Add(1) == 1 {
			refused <- struct{}{}
			return Opened{}, errors.New("not now")
		}
		return open(ctx, id, cfg, h)
	}
	f.change.Unlock()
	end()
	<-refused
	runs()
	if n := tries.Load(); n != 2 {
		t.Errorf("%d tries", n)
	}

	// Stopped or taken to another port while it is away: nobody brings the old one back.
	for _, stop := range []bool{true, false} {
		f.Stop(ctx, "a")
		y.broken = make(chan struct{})
		if err := f.Apply(ctx, "a", y.config(at[0])); err != nil {
			t.Fatal(err)
		}
		end()
		f.mu.Lock()
		m := f.lost["a"]
		f.mu.Unlock()
		if m == nil || !f.isLost(m) {
			t.Fatal("it is not known as lost")
		}
		if stop {
			err = f.Stop(ctx, "a")
		} else {
			err = f.Apply(ctx, "a", y.config(ports(t, 1)[0]))
		}
		if err != nil || f.isLost(m) || taken(t, at[0]) {
			t.Errorf("stopped %v: %v, lost %v", stop, err, f.isLost(m))
		}
	}
}

// breaking is a network of which reading packets fails once a channel is closed.
type breaking struct {
	network.Network
	queues []platform.TUN
}

func (b breaking) Queues() []platform.TUN { return b.queues }

type breakingTUN struct {
	platform.TUN
	broken chan struct{}
}

func (b breakingTUN) Read([]offload.Packet) (int, error) {
	<-b.broken
	return 0, errors.New("broken")
}
