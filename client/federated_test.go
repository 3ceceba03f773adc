package client

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

const assertion = "PHNhbWw+K/8=" // base64 has +, / and =, which travel url-encoded

// saml is AWS's federated sign-in.
func saml(answers map[string]bool) func(string, string) string {
	n := 0
	return func(user, password string) string {
		if user != "N/A" {
			return "Invalid username or password"
		}
		if password == challenge.AWSHello {
			n++
			return challenge.Dynamic{Response: true, State: fmt.Sprintf("instance-1/%d/ab-cd", n), Username: "N/A",
				Text: fmt.Sprintf("https://idp.example.test/sso?SAMLRequest=%d", n)}.AWS()
		}
		_, response, ok := challenge.ParseAnswer(push.Secret(password))
		text, _ := url.QueryUnescape(response.Reveal())
		if ok && answers[text] {
			return ""
		}
		return "Invalid username or password"
	}
}

const federated = "\nauth-user-pass\nauth-federate\nauth-retry interact\nauth-nocache\nreneg-sec 0"

func TestFederated(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		good := map[string]bool{assertion: true}
		d := newDoor(t, saml(good))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Timeout: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		q := st.asked(api.LoginBrowser)
		if q.URL != "https://idp.example.test/sso?SAMLRequest=1" || q.Callback != 35001 {
			t.Errorf("asked %+v", q)
		}
		time.Sleep(2 * time.Minute)
		st.say(q, api.Answer{Response: assertion})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		want := "N/A/ACS::35001 N/A/CRV1::instance-1/1/ab-cd::" + url.QueryEscape(assertion)
		if got := d.saw(); got != want {
			t.Errorf("the server saw %q, want %q", got, want)
		}
		// Without a token the answer is tried once more, and then the browser opens, once.
		d.set(func() { good[assertion] = false })
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		q = st.asked(api.LoginBrowser)
		if q.URL != "https://idp.example.test/sso?SAMLRequest=2" {
			t.Errorf("asked %+v", q)
		}
		// Nobody is there: no second window, but a question that waits.
		again := st.until(alice, "work", "asking again", time.Hour, func(c api.Connection) bool { return c.Login != nil && c.Login.Kind == api.LoginAgain })
		time.Sleep(24 * time.Hour)
		if got := strings.Count(d.saw(), challenge.AWSHello); got != 1 {
			t.Errorf("%d sign-ins were begun while nobody was there", got)
		}
		if again.Problem == nil || again.Problem.Code != api.CodeSignInTimedOut {
			t.Errorf("problem %+v", again.Problem)
		}
		st.say(*again.Login, api.Answer{})
		q = st.asked(api.LoginBrowser)
		d.set(func() { good["new"] = true })
		st.say(q, api.Answer{Response: "new"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
	})
}

// TestFederatedRefused: the server does not want this person: no new window by itself.
func TestFederatedRefused(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, saml(nil))
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.connect(alice, "work")
		st.say(st.asked(api.LoginBrowser), api.Answer{Response: assertion})
		c := st.ends(api.CodeBrowserRefused)
		if c.Problem.Args["reason"] != "Invalid username or password" {
			t.Errorf("problem %+v", c.Problem)
		}
		if strings.Contains(st.logged(), assertion) || strings.Contains(st.logged(), url.QueryEscape(assertion)) {
			t.Error("the log tells the assertion")
		}
	})
}

func TestFederatedToken(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, saml(map[string]bool{assertion: true}))
		d.token = "tok"
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.connect(alice, "work")
		st.say(st.asked(api.LoginBrowser), api.Answer{Response: assertion})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		judge := d.judge
		d.set(func() {
			d.judge = func(user, password string) string {
				if password == "tok" {
					return ""
				}
				return judge(user, password)
			}
		})
		for range 3 {
			d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
			time.Sleep(10 * time.Second)
			st.untilState(alice, "work", api.Connected, 0)
		}
		if got := d.saw(); got != "N/A/tok N/A/tok N/A/tok" {
			t.Errorf("the server saw %q", got)
		}
		d.set(func() { d.judge = judge }) // the session ended for good
		d.each(func(o *ovpn.Session) { o.Send(time.Now(), "RESTART,[P]come back") })
		st.asked(api.LoginBrowser)
		if got := d.saw(); got != "N/A/tok N/A/ACS::35001" {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestKeyExchangeOfAWS: AWS's form first where the server is AWS, openvpn's when that is not answered.
func TestKeyExchangeOfAWS(t *testing.T) {
	for host, aws := range map[string]bool{
		"cvpn-endpoint-0a.prod.clientvpn.us-east-1.amazonaws.com":       true,
		"x.cvpn-endpoint-0a.prod.clientvpn.cn-north-1.amazonaws.com.cn": true,
		"CVPN.prod.ClientVPN.eu-west-1.amazonaws.com.":                  true,
		"clientvpn.example.test":                                        false,
		"x.clientvpn.amazonaws.com.evil.test":                           false,
	} {
		if onAWS(host) != aws {
			t.Errorf("%s: AWS %v", host, !aws)
		}
	}
	inBubble(t, func(t *testing.T) {
		const host = "cvpn-endpoint-0a.prod.clientvpn.us-east-1.amazonaws.com"
		d := newDoor(t, func(string, string) string { return "" })
		d.names[host] = addrs("192.0.2.1", "192.0.2.2")
		first := true
		d.config = func(cfg *ovpn.Config) {
			if first { // it understands TLS, and nothing in it
				cfg.TLS.VerifyConnection = func(tls.ConnectionState) error { d.crash(); return nil }
			}
			first = false
		}
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile("remote "+host+" 443 udp\nauth-user-pass\nstatic-challenge PIN 1"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw", OTP: "1"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		st.untilState(alice, "work", api.Connected, time.Minute)
		if d := time.Since(began); d > keysTime+2*time.Second {
			t.Errorf("the other form came after %v", d)
		}
		// What was not understood was not used.
		if got := d.saw(); got != "alice/"+challenge.Static("pw", "1").Reveal() {
			t.Errorf("the server saw %q", got)
		}
		d.set(func() {
			if len(d.dialed) != 2 || d.dialed[0] != d.dialed[1] {
				t.Errorf("dialed %v", d.dialed)
			}
		})
	})
}

// TestEndlessBrowser: a server that answers what the browser brought with one more sign-in does not open one
// window after the other: an identity provider that remembers the person would answer each by itself.
func TestEndlessBrowser(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		n := 0
		d := newDoor(t, func(string, string) string {
			n++
			return challenge.Dynamic{Response: true, State: fmt.Sprintf("instance-1/%d/ab-cd", n), Username: "N/A",
				Text: fmt.Sprintf("https://idp.example.test/sso?SAMLRequest=%d", n)}.AWS()
		})
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+federated))
		st.connect(alice, "work")
		st.say(st.asked(api.LoginBrowser), api.Answer{Response: assertion})
		c := st.ends(api.CodeBrowserRefused)
		if !strings.Contains(c.Problem.Args["reason"], "once more") {
			t.Errorf("problem %+v", c.Problem)
		}
	})
}
