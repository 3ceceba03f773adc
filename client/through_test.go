package client

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/push"
)

// httpAnswers reads requests and answers each with the next text; asked gets their targets.
func httpAnswers(asked *[]string, answers ...string) func(net.Conn) bool {
	return func(c net.Conn) bool {
		for _, a := range answers {
			req, err := http.ReadRequest(bufio.NewReader(c))
			if err != nil {
				return false
			}
			*asked = append(*asked, req.Method+" "+req.RequestURI+" "+req.Header.Get("Proxy-Authorization"))
			if _, err := io.WriteString(c, a); err != nil {
				return false
			}
		}
		return strings.HasPrefix(answers[len(answers)-1], "HTTP/1.1 200")
	}
}

// socksAnswers is a SOCKS5 server that asks nothing and connects to one name of 11 bytes.
func socksAnswers(asked *[]string, code byte) func(net.Conn) bool {
	return func(c net.Conn) bool {
		b := make([]byte, 18)
		if _, err := io.ReadFull(c, b[:3]); err != nil {
			return false
		}
		c.Write([]byte{5, 0})
		if _, err := io.ReadFull(c, b); err != nil {
			return false
		}
		*asked = append(*asked, string(b[5:16]))
		c.Write([]byte{5, code, 0, 1, 0, 0, 0, 0, 0, 0})
		return code == 0
	}
}

const connected = "HTTP/1.1 200 Connection established\r\n\r\n"

// coversAll makes the server push a route over the proxy and itself.
func coversAll(s *server) {
	s.answer = func(session *ovpn.Session, ev ovpn.Event) error {
		if _, ok := ev.(ovpn.PushRequest); ok {
			r := reply()
			r.Routes = append(r.Routes, push.Route{Destination: netip.MustParsePrefix("203.0.113.0/24")})
			if err := session.Push(time.Now(), r); err != nil {
				return err
			}
			return errHandled
		}
		return nil
	}
}

// TestThroughProxy: the proxy's name is the one that is looked up here and that the way around
// the tunnel leads to; the server's goes to the proxy. Nobody says the password.
func TestThroughProxy(t *testing.T) {
	const login = "<http-proxy-user-pass>\nal\ngeheim\n</http-proxy-user-pass>\n"
	var asked []string
	for name, c := range map[string]struct {
		lines  string
		proxy  func(net.Conn) bool
		asked  []string
		status string
	}{
		"http": {"http-proxy proxy.test 3128 basic\n" + login, httpAnswers(&asked, connected),
			[]string{"CONNECT vpn.example:443 Basic YWw6Z2VoZWlt"}, "http://proxy.test:3128"},
		"socks": {"socks-proxy proxy.test 3128\n", socksAnswers(&asked, 0), []string{"vpn.example"}, "socks5://proxy.test:3128"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				asked = nil
				s := newServer(t)
				s.names["proxy.test"] = []netip.Addr{netip.MustParseAddr("203.0.113.9")}
				s.proxy = c.proxy
				coversAll(s)
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile("remote vpn.example 443 tcp\n"+c.lines))
				st.connect(alice, "work")
				got := st.untilState(alice, "work", api.Connected, 5*time.Second)
				if got.Server.Proxy != c.status || got.Server.Name != "vpn.example" || got.Server.Address != "203.0.113.9" {
					t.Errorf("status %+v", got.Server)
				}
				if !slices.Equal(asked, c.asked) {
					t.Errorf("the proxy was asked %q, want %q", asked, c.asked)
				}
				if !slices.Equal(s.asked, []string{"proxy.test"}) {
					t.Errorf("names looked up: %q", s.asked)
				}
				if want := netip.MustParseAddrPort("203.0.113.9:3128"); !slices.Equal(s.dialed, []netip.AddrPort{want}) {
					t.Errorf("dialed %v", s.dialed)
				}
				around := st.host(0).Current().Around
				if len(around) != 1 || around[0].Destination != netip.MustParsePrefix("203.0.113.9/32") || around[0].Gateway != netip.MustParseAddr("192.168.1.1") {
					t.Errorf("around the tunnel: %+v", around)
				}
				if !ping(t, st.host(0), "an inner packet, long enough to look like one") {
					t.Error("the packet did not come back")
				}
				if log := st.logged(); strings.Contains(log, "geheim") || strings.Contains(log, "YWw6Z2VoZWlt") {
					t.Errorf("the log has the password:\n%s", log)
				}
			})
		})
	}
}

// TestProxySetting: the setting takes the place of the profile's proxies, with the profile's credentials, or leads past them; it is kept
// over a restart, and one that no server can be reached through is not taken.
func TestProxySetting(t *testing.T) {
	const login = "<http-proxy-user-pass>\nal\ngeheim\n</http-proxy-user-pass>\n"
	const needsLogin = "HTTP/1.1 407 Sign in\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
	for name, c := range map[string]struct {
		lines, set    string
		answers       []string // of an HTTP proxy
		asked         []string
		status, dials string
	}{
		"a proxy": {"remote vpn.example 443 tcp\n", "http://proxy.test:3128", []string{connected}, []string{"CONNECT vpn.example:443 "}, "http://proxy.test:3128", "203.0.113.9:3128"},
		"in place of another, with the credentials": {"remote vpn.example 443 tcp\nhttp-proxy other.test 8080 basic\n" + login, "http://proxy.test:3128/", []string{needsLogin, connected},
			[]string{"CONNECT vpn.example:443 ", "CONNECT vpn.example:443 Basic YWw6Z2VoZWlt"}, "http://proxy.test:3128", "203.0.113.9:3128"},
		"socks in place of http": {"remote vpn.example 443 tcp\nhttp-proxy other.test 8080\n", "socks5://proxy.test", nil, []string{"vpn.example"}, "socks5://proxy.test:1080", "203.0.113.9:1080"},
		"only what it carries":   {"remote vpn.example 1194 udp\nremote vpn.example 443 tcp\n", "http://proxy.test:3128", []string{connected}, []string{"CONNECT vpn.example:443 "}, "http://proxy.test:3128", "203.0.113.9:3128"},
		"none":                   {"remote vpn.example 443 tcp\nhttp-proxy other.test 8080\n", "none", nil, nil, "", "203.0.113.77:443"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				var asked []string
				s := newServer(t)
				s.names["proxy.test"], s.names["vpn.example"] = []netip.Addr{netip.MustParseAddr("203.0.113.9")}, []netip.Addr{netip.MustParseAddr("203.0.113.77")}
				switch {
				case c.answers != nil:
					s.proxy = httpAnswers(&asked, c.answers...)
				case c.status != "":
					s.proxy = socksAnswers(&asked, 0)
				}
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile(c.lines))
				st.setting(alice, "work", "proxy="+c.set)
				st.stop()
				st.start()
				st.connect(alice, "work")
				got := st.untilState(alice, "work", api.Connected, 5*time.Second)
				if got.Server.Proxy != c.status || got.Server.Name != "vpn.example" {
					t.Errorf("status %+v", got.Server)
				}
				if !slices.Equal(asked, c.asked) {
					t.Errorf("the proxy was asked %q, want %q", asked, c.asked)
				}
				if s.dialed[0].String() != c.dials {
					t.Errorf("dialed %v, want %s", s.dialed, c.dials)
				}
				set, err := st.Settings(alice, "work")
				if want := cmp.Or(c.status, c.set); err != nil || set.Proxy != want {
					t.Errorf("the setting is %q, want %q, %v", set.Proxy, want, err)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		s := newServer(t)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile("remote vpn.example 1194 udp\n"))
		_, err := st.Set(alice, "work", []string{"guard=off", "proxy=http://proxy.test:3128"})
		if !api.IsCode(err, api.CodeSettingInvalid) || !strings.Contains(err.Error(), "an HTTP proxy cannot carry UDP") {
			t.Errorf("a proxy that carries no UDP: %v", err)
		}
		if set, err := st.Settings(alice, "work"); err != nil || set.Proxy != "" || set.Guard == guardOff {
			t.Errorf("after a refusal: %+v, %v", set, err)
		}
		for _, change := range []string{"proxy=socks5://proxy.test", "proxy="} {
			if _, err := st.Set(alice, "work", []string{change}); err != nil {
				t.Errorf("%s: %v", change, err)
			}
		}
	})
}

// TestProxyOnThisMachine: what leaves the machine goes to the server, so that the way around leads there.
func TestProxyOnThisMachine(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		var asked []string
		s := newServer(t)
		s.names["vpn.example"] = []netip.Addr{netip.MustParseAddr("203.0.113.77")}
		s.proxy = httpAnswers(&asked, connected)
		coversAll(s)
		st := newStage(t, s, t.TempDir())
		st.add(alice, "work", s.profile("remote vpn.example 443 tcp\nhttp-proxy 127.0.0.1 3128\n"))
		st.connect(alice, "work")
		st.untilState(alice, "work", api.Connected, 5*time.Second)
		if around := st.host(0).Current().Around; len(around) != 1 || around[0].Destination != netip.MustParsePrefix("203.0.113.77/32") {
			t.Errorf("around the tunnel: %+v", around)
		}
		if len(asked) != 1 || asked[0] != "CONNECT vpn.example:443 " {
			t.Errorf("the proxy was asked %q", asked)
		}
	})
}

// TestProxyProblems: what a proxy does not do for us has words of its own, and none are about the server.
func TestProxyProblems(t *testing.T) {
	const needs = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
	const login = "http-proxy 203.0.113.9 3128 basic\n<http-proxy-user-pass>\nal\ngeheim\n</http-proxy-user-pass>\n"
	var asked []string
	for name, c := range map[string]struct {
		lines string
		proxy func(net.Conn) bool
		code  string
		says  string
	}{
		"needs a sign-in": {"http-proxy 203.0.113.9 3128\n", httpAnswers(&asked, needs), api.CodeProxyAuthNeeded, "203.0.113.9:3128"},
		"wrong password":  {login, httpAnswers(&asked, needs), api.CodeProxyAuthFailed, "203.0.113.9:3128"},
		"forbidden":       {login, httpAnswers(&asked, "HTTP/1.1 403 Not with us\r\n\r\n"), api.CodeProxyRefused, "does not connect to vpn.example:443: 403 Not with us"},
		"no proxy":        {login, httpAnswers(&asked, "SSH-2.0-OpenSSH_9.2\r\n\r\n"), api.CodeProxyUnusable, "cannot be used"},
		"hangs up":        {login, func(net.Conn) bool { return false }, api.CodeProxyUnreachable, "no way through the proxy 203.0.113.9:3128"},
		"says nothing":    {login, func(c net.Conn) bool { io.Copy(io.Discard, c); return false }, api.CodeProxyUnreachable, "no way through the proxy 203.0.113.9:3128"},
		"SOCKS refuses":   {"socks-proxy 203.0.113.9 3128\n", socksAnswers(&asked, 2), api.CodeProxyRefused, "does not connect to vpn.example:443"},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				s := newServer(t)
				s.proxy = c.proxy
				st := newStage(t, s, t.TempDir())
				st.add(alice, "work", s.profile("remote vpn.example 443 tcp\n"+c.lines))
				if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: 40 * time.Second}); err != nil {
					t.Fatal(err)
				}
				got := st.untilState(alice, "work", api.Disconnected, 45*time.Second)
				if got.Problem == nil || got.Problem.Code != c.code || !strings.Contains(got.Problem.Message, c.says) {
					t.Fatalf("problem %+v, want %s and %q", got.Problem, c.code, c.says)
				}
				if strings.Contains(got.Problem.Message, "geheim") {
					t.Error("the password is in the message")
				}
			})
		})
	}
}
