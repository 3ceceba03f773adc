//go:build linux

package lab

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/network"
	"github.com/adit-vpn/adit/platform/udp"
)

// timed is an endpoint of this process in the server node: a file has hours, and a test has none.
type timed struct {
	*endpoint.Server
	cfg endpoint.Config
	log *Output
}

// timedUp starts the endpoint that file describes.
func (s *site) timedUp(file string, disconnect bool) *timed {
	s.t.Helper()
	cfg, err := endpoint.LoadConfig(file)
	s.ok(err)
	cfg.DisconnectOnTimeout = disconnect
	e := &timed{cfg: cfg, log: &Output{}}
	log := slog.New(slog.NewTextHandler(e.log, nil))
	nw, err := network.NewUserspace(network.UserspaceConfig{MTU: cfg.TunMTU, Own: cfg.Listen, Log: log})
	s.ok(err)
	ctx, cancel := context.WithCancel(context.Background())
	e.Server, err = endpoint.New(cfg, endpoint.Leaves{
		Log: log, Now: time.Now, ReadFile: os.ReadFile, Network: nw,
		ListenUDP: func(addr netip.AddrPort) (all []udp.Conn, err error) {
			err = s.server.Do(func() error { all, err = udp.ListenShared(ctx, addr, 2, udp.Options{}); return err })
			return all, err
		},
		ListenTCP: func(addr netip.AddrPort) (net.Listener, error) { return s.server.Listen("tcp", addr.String()) },
	})
	s.ok(err)
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(func() {
		cancel()
		running.Wait()
		if s.t.Failed() {
			s.t.Logf("the endpoint:\n%s", e.log)
		}
	})
	select {
	case <-e.Ready():
	case <-time.After(soon):
		s.t.Fatal("the endpoint does not listen")
	}
	return e
}

// allow puts another session time in force, for those who are there, too.
func (e *timed) allow(s *site, d time.Duration) {
	s.t.Helper()
	e.cfg.SessionTimeout = d
	if reset, err := e.Reload(s.t.Context(), e.cfg); err != nil || reset != 0 {
		s.t.Fatalf("reset %d, %v", reset, err)
	}
}

// TestOpenVPNSessionTimeout: what a stock client does when its session's time is over, with AWS's two settings. It is
// ended and stays away; or it comes back, its token is refused once, and it asks for the password, once, and does
// not go on trying meanwhile.
func TestOpenVPNSessionTimeout(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range []struct {
		transport  string
		disconnect bool
	}{{"udp", true}, {"tcp", true}, {"udp", false}, {"tcp", false}} {
		t.Run(fmt.Sprintf("%s disconnect %t", c.transport, c.disconnect), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			hash, err := bcrypt.GenerateFromPassword([]byte("geheim"), bcrypt.MinCost)
			s.ok(err)
			users := s.write(s.server, "users.yaml", fmt.Sprintf("users:\n  - {name: otto, password: %q}\n", hash))
			first := s.start(s.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", s.dataDir(), "--proto", c.transport, "--auth", "directory", "--users", users)
			s.ok(first.WaitFor("profile: ", soon)) // it makes all files
			s.terminate(first)
			e := s.timedUp(filepath.Join(s.dataDir(), "adit-endpoint.yaml"), c.disconnect)

			client := s.openvpn(s.server, s.read(filepath.Join(s.dataDir(), "client.ovpn"))+
				"setenv opt disable-dco\nmanagement 127.0.0.1 7505\nmanagement-query-passwords\nconnect-retry 1 1\n")
			m := s.desktop(s.server, "127.0.0.1:7505")
			const asks = ">PASSWORD:Need 'Auth'"
			signIn := func(times int) {
				t.Helper()
				s.until(2*soon, fmt.Sprintf("openvpn asks for the password, time %d", times), func() bool { return m.heard(asks) == times })
				m.say(`username "Auth" "otto"`)
				m.say(`password "Auth" "geheim"`)
				s.until(2*soon, "openvpn is connected", func() bool {
					return strings.Count(client.Out.String(), "Initialization Sequence Completed") == times
				})
				s.reaches(s.server, none, netip.MustParseAddr(demoHost))
			}
			signIn(1)
			e.allow(s, time.Millisecond)
			s.until(soon, "the session ends", func() bool {
				return strings.Contains(e.log.String(), `reason="the session time is over"`) && len(e.Connections()) == 0
			})
			e.allow(s, 24*time.Hour)
			if c.disconnect {
				select {
				case <-client.Done():
				case <-time.After(soon):
					t.Fatalf("openvpn goes on: %s", client.Out)
				}
				if n := m.heard(asks); n != 1 {
					t.Errorf("openvpn asked %d times", n)
				}
				return
			}
			s.until(2*soon, "openvpn asks again", func() bool { return m.heard(asks) == 2 })
			const refused, begins = "AUTH_FAILED,SESSION", "TLS: Initial packet"
			tries := strings.Count(client.Out.String(), begins)
			time.Sleep(3 * time.Second) // time for more tries, of which there are none
			if n := strings.Count(client.Out.String(), begins); n != tries || m.heard(asks) != 2 {
				t.Errorf("%d more tries, asked %d times, while nobody answers", n-tries, m.heard(asks))
			}
			if n := strings.Count(client.Out.String(), refused); n != 1 {
				t.Errorf("%d refusals of the token:\n%s", n, client.Out)
			}
			signIn(2)
			s.terminate(client)
		})
	}
}
