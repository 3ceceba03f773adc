//go:build linux

package lab

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"golang.org/x/crypto/bcrypt"
)

// desktop is a program at openvpn's management socket, as a desktop client has one.
type desktop struct {
	conn net.Conn
	mu   sync.Mutex
	said []string
	done chan struct{}
}

// desktop connects to the management socket of an openvpn that runs in n.
func (s *site) desktop(n *Node, addr string) *desktop {
	s.t.Helper()
	m := &desktop{done: make(chan struct{})}
	s.until(soon, "openvpn's management socket", func() (up bool) {
		var err error
		m.conn, err = n.Dial("tcp", addr, time.Second)
		return err == nil
	})
	go func() {
		defer close(m.done)
		for lines := bufio.NewScanner(m.conn); lines.Scan(); {
			m.mu.Lock()
			m.said = append(m.said, lines.Text())
			m.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() {
		m.conn.Close()
		<-m.done
	})
	return m
}

// heard counts the lines that begin so.
func (m *desktop) heard(prefix string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, line := range m.said {
		if strings.HasPrefix(line, prefix) {
			n++
		}
	}
	return n
}

// say answers openvpn.
func (m *desktop) say(format string, args ...any) { fmt.Fprintf(m.conn, format+"\n", args...) }

// scrv1 is the answer to a static challenge.
func scrv1(password, code string) string {
	b64 := base64.StdEncoding.EncodeToString
	return "SCRV1:" + b64([]byte(password)) + ":" + b64([]byte(code))
}

const (
	testersSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
	demoHost      = "10.98.0.1"
)

// TestOpenVPNSignsInWithCodes: what a tester does with a stock client. The endpoint runs from its flags alone;
// openvpn takes the profile that it wrote, asks for name, password and code, keeps its tunnel through
// renegotiations and comes back by itself with the token, as often as it likes; until it is terminated.
func TestOpenVPNSignsInWithCodes(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for i, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			hash, err := bcrypt.GenerateFromPassword([]byte("geheim: ä"), bcrypt.MinCost)
			s.ok(err)
			users := s.write(s.server, "users.yaml", fmt.Sprintf("users:\n  - {name: otto, password: %q, groups: [testers], totp: %s}\n", hash, testersSecret))
			e := s.start(s.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "-v", "--data", s.dataDir(), "--proto", transport,
				"--auth", "directory", "--users", users)
			s.ok(e.WaitFor("profile: ", soon))
			profile := s.read(filepath.Join(s.dataDir(), "client.ovpn"))
			if strings.Contains(profile, "<cert>") || !strings.Contains(profile, "static-challenge \"Enter MFA code \" 1\n") {
				t.Fatalf("profile:\n%s", profile)
			}
			// The client is on the same machine: test users are for loopback.
			lines := []string{"setenv opt disable-dco", "verb 4", "management 127.0.0.1 7505", "management-query-passwords", "connect-retry 1 1"}
			if i == 0 {
				lines = append(lines, fmt.Sprint("reneg-sec ", renegotiate))
			}
			c := s.openvpn(s.server, strings.Replace(profile, "reneg-sec 0\n", "", 1)+strings.Join(lines, "\n")+"\n")
			m := s.desktop(s.server, "127.0.0.1:7505")
			const asks = ">PASSWORD:Need 'Auth' username/password SC:1,Enter MFA code"
			asked := 0
			signIn := func(password, code string) {
				t.Helper()
				asked++
				s.until(soon, "openvpn asks", func() bool { return m.heard(asks) == asked })
				m.say(`username "Auth" "otto"`)
				m.say(`password "Auth" "%s"`, scrv1(password, code))
			}
			code := func() string {
				t.Helper()
				text, err := totp.GenerateCode(testersSecret, time.Now())
				s.ok(err)
				return text
			}
			refusals := 0
			refused := func(reason string) {
				t.Helper()
				refusals++
				s.until(soon, "the refusal", func() bool {
					return strings.Count(c.Out.String(), "AUTH_FAILED,Invalid username or password") >= refusals
				})
				s.until(soon, "the reason in the endpoint's log", func() bool { return strings.Contains(e.Out.String(), reason) })
			}

			// Wrong in three ways, all of which look the same from outside; then right.
			signIn("geheim", code())
			refused("denied: wrong password")
			signIn("geheim: ä", "000000")
			refused("denied: wrong one-time code")
			good := code()
			signIn("geheim: ä", good)
			s.ok(c.WaitFor("Initialization Sequence Completed", soon))
			demo := netip.MustParseAddr(demoHost)
			s.reaches(s.server, none, demo)
			if list := s.connections(); len(list) != 1 || list[0].Client != "otto" || list[0].Cert != "" {
				t.Errorf("connections %+v", list)
			}

			// New keys with the token: the code could not be used again.
			if i == 0 {
				n := len(handshakes.FindAllString(c.Out.String(), -1))
				s.until(5*renegotiate*time.Second, "two renegotiations", func() bool { return len(handshakes.FindAllString(c.Out.String(), -1)) >= n+2 })
				s.reaches(s.server, none, demo)
			}
			// A new session with the token, twice: each brings a new one.
			for range 2 {
				n := strings.Count(c.Out.String(), "Initialization Sequence Completed")
				s.ok(syscall.Kill(c.Cmd.Process.Pid, syscall.SIGUSR1))
				s.until(soon, "openvpn is back", func() bool { return strings.Count(c.Out.String(), "Initialization Sequence Completed") > n })
				s.reaches(s.server, none, demo)
			}
			if n := m.heard(asks); n != asked {
				t.Errorf("openvpn asked %d times", n)
			}

			// The administrator ends it: the client stays away.
			s.endpointCmd("terminate", "--user", "otto")
			s.until(soon, "the client ends", func() bool {
				select {
				case <-c.Done():
					return true
				default:
					return false
				}
			})
			s.until(soon, "the endpoint has no client", func() bool { return len(s.connections()) == 0 })
			for _, secret := range []string{"geheim", good, testersSecret} {
				if strings.Contains(e.Out.String(), secret) {
					t.Errorf("%q is in the endpoint's log", secret)
				}
			}

			// A code that was used is refused, whoever comes with it.
			c = s.openvpn(s.server, profile+strings.Join(lines[:len(lines)-i], "\n")+"\n")
			m.conn.Close()
			m, asked, refusals = s.desktop(s.server, "127.0.0.1:7505"), 0, 0
			signIn("geheim: ä", good)
			refused("denied: the one-time code was used before")
			c.Stop(syscall.SIGTERM, soon) // its status says that nobody answered it any more
			s.terminate(e)
		})
	}
}

// TestUpMakesUsers: up with a file of users that is not there yet makes it, with one user.
func TestUpMakesUsers(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	users := filepath.Join(s.server.Dir, "users.yaml")
	e := s.start(s.server, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", s.dataDir(), "--auth", "directory", "--users", users)
	s.ok(e.WaitFor("profile: ", soon))
	_, password, ok := strings.Cut(e.Out.String(), "sign in as: tester with the password ")
	password, _, _ = strings.Cut(password, "\n")
	if !ok || !strings.Contains(s.read(users), "# "+password+"\n") {
		t.Fatalf("up says %s", e.Out.String())
	}
	file := s.write(s.server, "login", "tester\n"+password+"\n")
	profile := strings.Replace(s.read(filepath.Join(s.dataDir(), "client.ovpn")), "auth-user-pass\n", "auth-user-pass "+file+"\n", 1)
	c := s.openvpn(s.server, profile+"setenv opt disable-dco\n")
	s.ok(c.WaitFor("Initialization Sequence Completed", soon))
	s.reaches(s.server, none, netip.MustParseAddr(demoHost))
	s.terminate(c)
	if _, err := os.Stat(filepath.Join(s.dataDir(), "adit-endpoint.yaml")); err != nil {
		t.Error(err)
	}
	s.terminate(e)
}
