//go:build linux

package lab

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// verifyScript is what openvpn's server asks (auth-user-pass-verify, via-file). Its passwords: "good"; with
// the static code 123456 as SCRV1 or behind it; for user dyn with a dynamic challenge; and AWS's
// federated sign-in. It notes each password that it sees.
const verifyScript = `#!/bin/sh
u=$(sed -n 1p "$1"); p=$(sed -n 2p "$1")
echo "saw $u $p" >>"$SEEN"
deny() { printf '%s' "$1" >"$auth_failed_reason_file"; exit 1; }
case $p in
SCRV1:Z29vZA==:MTIzNDU2|good123456) exit 0;;
SCRV1:*) deny "bad static response";;
CRV1::st-42::424242) exit 0;;
CRV1::instance-1/42/ab-cd::PHNhbWw%2B) exit 0;;
CRV1::*) deny "bad dynamic response";;
ACS::35001) deny "CRV1:R:instance-1/42/ab-cd:b'Ti9B':https://idp.example.test/sso?SAMLRequest=fZ%3D";;
esac
[ "$p" = good ] || deny "wrong password"
[ "$u" = dyn ] && deny "CRV1:R,E:st-42:$(printf %s "$u" | base64 -w0):Enter the one-time code"
exit 0
`

// signInSite is openvpn's server with that script, and our service with a client of the test's.
type signInSite struct {
	*site
	pki    pki
	server *Proc  // openvpn
	config string // its, without the lines of the test
	api    *api.Client
	socket string
}

// needsSignIn skips where openvpn's server cannot ask: its scripts give reasons since 2.6.
func needsSignIn(t *testing.T) {
	t.Helper()
	needs(t, "openvpn")
	if openvpnMinor() < 6 {
		t.Skip("openvpn 2.6 brought auth_failed_reason_file")
	}
}

func newSignInSite(t *testing.T) *signInSite {
	t.Helper()
	s := &signInSite{site: newSite(t), pki: newPKI(t)}
	s.ok(os.Chmod(s.write(s.site.server, "verify.sh", verifyScript), 0o700))
	s.serve()
	return s
}

// openvpnUp starts openvpn's server, with the script unless management decides.
func (s *signInSite) openvpnUp(transport string, lines ...string) {
	s.t.Helper()
	lines = append(lines, "script-security 2", "setenv SEEN "+s.seenFile(), "username-as-common-name")
	if !strings.Contains(strings.Join(lines, "\n"), "management") {
		lines = append(lines, "auth-user-pass-verify "+filepath.Join(s.site.server.Dir, "verify.sh")+" via-file")
	}
	if s.config == "" {
		s.config = openvpnServer(s.site, s.pki, staticKey(), cell{Transport: transport, Cipher: "AES-256-GCM"})
	}
	s.server = s.openvpn(s.site.server, s.config+strings.Join(lines, "\n")+"\n")
	s.ok(s.server.WaitFor("Initialization Sequence Completed", soon))
}

// serve starts the service on a socket that this process can reach.
func (s *signInSite) serve() {
	s.t.Helper()
	s.socket = filepath.Join(s.client.Dir, "s")
	p := s.start(s.client, "aditd", bin(s.t, "aditd"), "--state", s.stateDir(), "--socket", s.socket)
	s.ok(p.WaitFor("listening", soon))
	s.api = api.NewClient(s.socket)
	s.t.Cleanup(s.api.Close)
}

func (s *signInSite) seenFile() string { return filepath.Join(s.site.server.Dir, "seen") }

// seen are the "user password" that the script saw.
func (s *signInSite) seen() []string {
	b, err := os.ReadFile(s.seenFile())
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(strings.ReplaceAll(string(b), "saw ", "")), "\n")
}

// saw demands exactly these.
func (s *signInSite) saw(want ...string) {
	s.t.Helper()
	if got := s.seen(); strings.Join(got, "\n") != strings.Join(want, "\n") {
		s.t.Errorf("the server saw %q, want %q", got, want)
	}
}

// importProfile stores the profile with these lines.
func (s *signInSite) importProfile(transport string, lines ...string) {
	s.t.Helper()
	text := clientProfile(s.pki, transport, "plain", "", append([]string{"auth-user-pass"}, lines...)...)
	s.adit("import", s.write(s.client, "lab.ovpn", text), "--replace")
}

func (s *signInSite) adit(args ...string) string {
	s.t.Helper()
	return s.run(s.client, append([]string{bin(s.t, "adit"), "--socket", s.socket}, args...)...)
}

// fails runs a command that must fail, and returns what it says.
func (s *signInSite) fails(args ...string) string {
	s.t.Helper()
	out, err := s.try(s.client, append([]string{bin(s.t, "adit"), "--socket", s.socket}, args...)...)
	if err == nil {
		s.t.Errorf("adit %s did not fail", strings.Join(args, " "))
	}
	return out
}

func (s *signInSite) password(text string) string { return s.write(s.client, "password", text+"\n") }

// status is the connection's; the zero one if there is none.
func (s *signInSite) status() api.Connection {
	s.t.Helper()
	st, err := s.api.Status(s.t.Context())
	s.ok(err)
	if len(st.Connections) != 1 {
		return api.Connection{State: api.Disconnected}
	}
	return st.Connections[0]
}

// asked waits for a question.
func (s *signInSite) asked(kind api.LoginKind) (c api.Connection) {
	s.t.Helper()
	s.until(2*soon, "a question for "+string(kind), func() bool {
		c = s.status()
		return c.Login != nil && c.Login.Kind == kind
	})
	return c
}

func (s *signInSite) answer(c api.Connection, a api.Answer) {
	s.t.Helper()
	a.Profile, a.ID = "lab", c.Login.ID
	s.ok(s.api.Answer(s.t.Context(), a))
}

func (s *signInSite) connected() {
	s.t.Helper()
	s.until(2*soon, "connected", func() bool { return s.status().State == api.Connected })
	s.reaches(s.client, none, hostAddr)
}

// noTrace demands that nothing of ours shows a secret: log, status, command lines.
func (s *signInSite) noTrace(secrets ...string) {
	s.t.Helper()
	shown := s.adit("logs") + s.adit("status", "--json")
	for _, proc := range s.client.procs {
		shown += proc.Out.String() + strings.Join(proc.Cmd.Args, " ")
	}
	for _, secret := range secrets {
		if strings.Contains(shown, secret) {
			s.t.Errorf("%q shows", secret)
		}
	}
}

// TestSignInPassword: openvpn's server asks for user name and password.
func TestSignInPassword(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSignInSite(t)
			s.openvpnUp(transport, "reneg-sec 4")
			s.importProfile(transport, "reneg-sec 0")
			for _, c := range []struct {
				args []string
				says string
			}{
				{nil, "adit: lab needs a user name, and there is no terminal to ask at"},
				{[]string{"--user", "alice"}, "give it with --password-file"},
				{[]string{"--user", "alice", "--password-file", s.password("hunter-bad")}, "adit: the server did not accept user name and password: wrong password"},
			} {
				if out := s.fails(append([]string{"connect", "lab"}, c.args...)...); !strings.Contains(out, c.says) {
					t.Errorf("connect %v says %q", c.args, out)
				}
				if c := s.status(); c.State != api.Disconnected {
					t.Errorf("left in state %s", c.State)
				}
			}
			s.saw("alice hunter-bad")
			s.noTunnel()
			s.adit("connect", "lab", "--user", "alice", "--password-file", s.password("good"))
			s.connected()
			s.until(2*soon, "renegotiations with the password", func() bool { return len(s.seen()) >= 3 })
			s.connected()
			s.noTrace("hunter-bad")
		})
	}
}

// TestSignInStaticChallenge: password and code together, in both formats.
func TestSignInStaticChallenge(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	for format, sent := range map[string]string{"scrv1": "SCRV1:Z29vZA==:MTIzNDU2", "concat": "good123456"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			s := newSignInSite(t)
			s.openvpnUp("udp", "reneg-sec 5")
			s.importProfile("udp", `static-challenge "Enter MFA code " 1 `+format, "auth-retry interact", "auth-nocache", "reneg-sec 0")
			if out := s.fails("connect", "lab", "--user", "alice", "--password-file", s.password("good")); !strings.Contains(out, "give it with --otp") {
				t.Errorf("without a code: %q", out)
			}
			s.saw()
			if out := s.fails("connect", "lab", "--user", "alice", "--password-file", s.password("good"), "--otp", "000000"); !strings.Contains(out, "did not accept user name, password or one-time code") {
				t.Errorf("with a wrong code: %q", out)
			}
			if n := len(s.seen()); n != 1 {
				t.Errorf("a wrong code was sent %d times", n)
			}
			s.ok(os.Remove(s.seenFile()))
			s.adit("connect", "lab", "--user", "alice", "--password-file", s.password("good"), "--otp", "123456")
			s.connected()
			s.saw("alice " + sent)
			// openvpn wants new keys, and gave no token: the code is not sent again, somebody is asked.
			s.asked(api.LoginPassword)
			s.saw("alice " + sent)
			if four, _ := s.tunnelAddrs(s.client); !four.IsValid() {
				t.Error("the tunnel's device went away while somebody is asked")
			}
			s.adit("disconnect", "lab")
			s.noTunnel()
			s.noTrace("123456 ", sent)
		})
	}
}

// TestSignInDynamicChallenge: the server asks after the password, at the same address.
func TestSignInDynamicChallenge(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSignInSite(t)
			s.openvpnUp(transport, "reneg-sec 0")
			s.importProfile(transport, "auth-retry interact")
			s.adit("connect", "lab", "--user", "dyn", "--password-file", s.password("good"), "--otp", "424242")
			s.connected()
			s.saw("dyn good", "dyn CRV1::st-42::424242")
			s.adit("disconnect", "lab")
			s.ok(os.Remove(s.seenFile()))

			// Asked by whoever shows the status; the first answer is wrong.
			s.ok(s.api.Connect(t.Context(), api.ConnectRequest{Profile: "lab", Username: "dyn", Password: "good", Timeout: 20 * time.Second}))
			c := s.asked(api.LoginOTP)
			if c.Login.Prompt != "Enter the one-time code" || !c.Login.Echo {
				t.Errorf("asked %+v", c.Login)
			}
			if out := s.adit("status"); !strings.Contains(out, "needs login") || !strings.Contains(out, "asks     Enter the one-time code") {
				t.Errorf("status says %q", out)
			}
			s.answer(c, api.Answer{Response: "111111"})
			first := c.Login.ID
			s.until(2*soon, "another question", func() bool { c = s.status(); return c.Login != nil && c.Login.ID != first })
			if c.Problem == nil || c.Problem.Code != api.CodeCodeRefused || c.Problem.Args["reason"] != "bad dynamic response" {
				t.Errorf("problem %+v", c.Problem)
			}
			s.answer(c, api.Answer{Response: "424242"})
			s.connected()
			s.saw("dyn good", "dyn CRV1::st-42::111111", "dyn good", "dyn CRV1::st-42::424242")
		})
	}
}

// TestSignInToken: openvpn's tokens spare the code at renegotiations and when the server comes back;
// when one has expired, somebody is asked, once.
func TestSignInToken(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	s := newSignInSite(t)
	s.run(s.site.server, "openvpn", "--genkey", "auth-token", filepath.Join(s.site.server.Dir, "token.key"))
	up := func(lifetime int) {
		s.openvpnUp("udp", "reneg-sec 3", "hand-window 10", fmt.Sprintf("auth-gen-token %d 20", lifetime), "auth-gen-token-secret token.key")
	}
	up(0)
	s.importProfile("udp", append(pinging(), `static-challenge "Enter MFA code " 1`, "auth-retry interact", "auth-nocache", "reneg-sec 0")...)
	s.adit("connect", "lab", "--user", "alice", "--password-file", s.password("good"), "--otp", "123456")
	s.connected()
	s.until(3*soon, "renegotiations", func() bool { return strings.Count(s.server.Out.String(), "Control Channel: TLSv1") >= 3 })
	s.connected()
	s.server.Stop(syscall.SIGKILL, soon) // the error is that it was killed
	up(0)
	s.until(4*soon, "back with the token", func() bool { return s.status().State == api.Connected && s.passes() })
	s.saw("alice SCRV1:Z29vZA==:MTIzNDU2")

	// A server that takes tokens for a second only, counted from the sign-in.
	s.server.Stop(syscall.SIGKILL, soon)
	up(1)
	c := s.asked(api.LoginPassword)
	if c.Problem == nil || c.Problem.Code != api.CodeSignInExpired || c.Login.Challenge == "" || c.Login.User != "alice" {
		t.Errorf("asked %+v because of %+v", c.Login, c.Problem)
	}
	if four, _ := s.tunnelAddrs(s.client); !four.IsValid() {
		t.Error("the tunnel's device went away while somebody is asked")
	}
	tries := strings.Count(s.server.Out.String(), "TLS: Initial packet")
	time.Sleep(4 * time.Second)
	if n := strings.Count(s.server.Out.String(), "TLS: Initial packet"); n != tries {
		t.Errorf("%d more tries while somebody is asked", n-tries)
	}
	if again := s.status(); again.Login == nil || again.Login.ID != c.Login.ID {
		t.Errorf("asked again: %+v", again.Login)
	}
	s.saw("alice SCRV1:Z29vZA==:MTIzNDU2")
}

// TestSignInFederatedAtStockServer: AWS's sign-in in the browser, at a server that knows openvpn's key
// exchange only.
func TestSignInFederatedAtStockServer(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSignInSite(t)
			s.openvpnUp(transport, "reneg-sec 0")
			s.importProfile(transport, "auth-federate", "auth-retry interact", "auth-nocache", "reneg-sec 0")
			if out := s.fails("connect", "lab"); !strings.Contains(out, "adit: lab needs a sign-in in the browser") || !strings.Contains(out, "--no-browser") {
				t.Errorf("without a terminal: %q", out)
			}
			s.ok(s.api.Connect(t.Context(), api.ConnectRequest{Profile: "lab", Timeout: 30 * time.Second}))
			c := s.asked(api.LoginBrowser)
			if c.Login.URL != "https://idp.example.test/sso?SAMLRequest=fZ%3D" || c.Login.Callback != 35001 {
				t.Errorf("asked %+v", c.Login)
			}
			s.answer(c, api.Answer{Response: "PHNhbWw+"})
			s.connected()
			if seen := s.seen(); seen[len(seen)-1] != "N/A CRV1::instance-1/42/ab-cd::PHNhbWw%2B" {
				t.Errorf("the server saw %q", seen)
			}
			s.noTrace("PHNhbWw")
		})
	}
}

// manager decides by openvpn's management interface.
type manager struct {
	t    *testing.T
	conn net.Conn

	mu     sync.Mutex
	events []string // ">CLIENT:CONNECT,0,1 user password" and ">CLIENT:CR_RESPONSE,0,1,…"
}

// manage attaches to the server's management socket.
func (s *signInSite) manage() *manager {
	s.t.Helper()
	m := &manager{t: s.t}
	var err error
	s.until(soon, "the management socket", func() bool {
		m.conn, err = net.Dial("unix", filepath.Join(s.site.server.Dir, "m"))
		return err == nil
	})
	var reading sync.WaitGroup
	s.t.Cleanup(func() { m.conn.Close(); reading.Wait() })
	reading.Go(func() {
		event, env := "", map[string]string{}
		for in := bufio.NewScanner(m.conn); in.Scan(); {
			line := in.Text()
			switch name, value, isEnv := strings.Cut(strings.TrimPrefix(line, ">CLIENT:ENV,"), "="); {
			case strings.HasPrefix(line, ">CLIENT:ENV,END"):
				m.mu.Lock()
				m.events = append(m.events, event+" "+env["username"]+" "+env["password"])
				m.mu.Unlock()
			case strings.HasPrefix(line, ">CLIENT:ENV,") && isEnv:
				env[name] = value
			case strings.HasPrefix(line, ">CLIENT:"):
				event, env = line, map[string]string{}
			}
		}
	})
	return m
}

// await returns "CID KID" and the rest of the n-th event of a kind.
func (m *manager) await(s *signInSite, kind string, n int) (ids, rest string) {
	s.t.Helper()
	s.until(2*soon, fmt.Sprintf("%s number %d at the server", kind, n), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		seen := 0
		for _, e := range m.events {
			text, ok := strings.CutPrefix(e, ">CLIENT:"+kind+",")
			if !ok {
				continue
			}
			if seen++; seen == n {
				head, tail, _ := strings.Cut(text, " ")
				part := strings.SplitN(head, ",", 3)
				if len(part) > 2 {
					tail = part[2]
				}
				ids, rest = part[0]+" "+part[1], tail
				return true
			}
		}
		return false
	})
	return ids, rest
}

func (m *manager) say(format string, args ...any) {
	m.t.Helper()
	if _, err := fmt.Fprintf(m.conn, format+"\n", args...); err != nil {
		m.t.Error(err)
	}
}

// TestSignInByManagement: a server that asks by its management interface: a dynamic challenge, a
// question while the session waits, and a sign-in in the browser that it learns of by itself.
func TestSignInByManagement(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			s := newSignInSite(t)
			s.openvpnUp(transport, "management m unix", "management-client-auth", "reneg-sec 0")
			m := s.manage()
			s.importProfile(transport, "reneg-sec 0")
			begin := func(timeout time.Duration) {
				s.ok(s.api.Connect(t.Context(), api.ConnectRequest{Profile: "lab", Username: "alice", Password: "good", Timeout: timeout}))
			}
			end := func() {
				s.adit("disconnect", "lab")
				s.noTunnel()
			}

			begin(20 * time.Second)
			ids, rest := m.await(s, "CONNECT", 1)
			if rest != "alice good" {
				t.Errorf("the server saw %q", rest)
			}
			m.say(`client-deny %s "need a code" "CRV1:R,E:st-7:%s:Enter: code"`, ids, base64.StdEncoding.EncodeToString([]byte("alice")))
			c := s.asked(api.LoginOTP)
			if c.Login.Prompt != "Enter: code" {
				t.Errorf("asked %+v", c.Login)
			}
			s.answer(c, api.Answer{Response: "one two"})
			ids, rest = m.await(s, "CONNECT", 2)
			if rest != "alice CRV1::st-7::one two" {
				t.Errorf("the server saw %q", rest)
			}
			m.say("client-auth-nt %s", ids)
			s.connected()
			end()

			begin(5 * time.Second)
			ids, _ = m.await(s, "CONNECT", 3)
			m.say("client-pending-auth %s CR_TEXT:R,E:What-is-it? 60", ids)
			c = s.asked(api.LoginOTP)
			if left := time.Until(c.Login.Deadline); c.Login.Prompt != "What-is-it?" || left < 30*time.Second || left > time.Minute {
				t.Errorf("asked %+v, %v left", c.Login, left)
			}
			time.Sleep(6 * time.Second) // longer than the time limit, which stands still
			s.answer(c, api.Answer{Response: "424242"})
			ids, rest = m.await(s, "CR_RESPONSE", 1)
			if rest != base64.StdEncoding.EncodeToString([]byte("424242")) {
				t.Errorf("the server got %q", rest)
			}
			m.say("client-auth-nt %s", ids)
			s.connected()
			end()

			begin(5 * time.Second)
			ids, _ = m.await(s, "CONNECT", 4)
			m.say("client-pending-auth %s WEB_AUTH::https://idp.example.test/login?x=1 60", ids)
			c = s.asked(api.LoginBrowser)
			if c.Login.URL != "https://idp.example.test/login?x=1" || c.Login.Callback != 0 {
				t.Errorf("asked %+v", c.Login)
			}
			// A command that waits with the person is killed: the service goes on asking.
			waiting := s.start(s.client, "adit", bin(t, "adit"), "--socket", s.socket, "connect", "lab", "--no-browser")
			s.ok(waiting.WaitFor("https://idp.example.test/login?x=1", soon))
			waiting.Stop(syscall.SIGKILL, soon) // the error is that it was killed
			s.asked(api.LoginBrowser)
			m.say("client-auth-nt %s", ids)
			s.connected()
			end()

			begin(20 * time.Second)
			ids, _ = m.await(s, "CONNECT", 5)
			m.say("client-pending-auth %s CR_TEXT:R:Code 60", ids)
			c = s.asked(api.LoginOTP)
			s.answer(c, api.Answer{Response: "000000"})
			ids, _ = m.await(s, "CR_RESPONSE", 2)
			m.say(`client-deny %s "wrong" "not that code"`, ids)
			s.until(2*soon, "the end", func() bool { c = s.status(); return c.State == api.Disconnected })
			if c.Problem == nil || c.Problem.Code != api.CodeCodeRefused || c.Problem.Args["reason"] != "not that code" {
				t.Errorf("ended with %+v", c.Problem)
			}
			s.noTrace("424242", "one two", "000000")
		})
	}
}

// TestSignInInUserspace: the same without the service.
func TestSignInInUserspace(t *testing.T) {
	t.Parallel()
	needsSignIn(t)
	s := newSignInSite(t)
	s.openvpnUp("udp", "reneg-sec 0")
	file := s.write(s.client, "lab.ovpn", clientProfile(s.pki, "udp", "plain", "", "auth-user-pass", "reneg-sec 0"))
	connect := []string{bin(t, "adit"), "connect", file, "--userspace", "--user", "dyn", "--password-file", s.password("good")}
	if out, err := s.try(s.client, connect...); err == nil || !strings.Contains(out, "give it with --otp") {
		t.Errorf("without a code: %v, %q", err, out)
	}
	tunnel := s.start(s.client, "adit", append(connect, "--otp", "424242")...)
	s.ok(tunnel.WaitFor("ready", soon))
	if err := tunnel.Stop(syscall.SIGINT, soon); err != nil {
		t.Error(err)
	}
	s.saw("dyn good", "dyn good", "dyn CRV1::st-42::424242")
}
