package challenge

import (
	"errors"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func TestParseDynamic(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       Dynamic
		bad        bool
	}{
		{name: "management-notes", text: "CRV1:R,E:Om01u7Fh4LrGBS7uh0SWmzwabUiGiW6l:Y3Ix:Please enter token PIN",
			want: Dynamic{Response: true, Echo: true, State: "Om01u7Fh4LrGBS7uh0SWmzwabUiGiW6l", Username: "cr1", Text: "Please enter token PIN"}},
		{name: "AWS", text: "CRV1:R:instance-1/6180391/ab12-cd:b'Ti9B':https://idp.example.test/sso?SAMLRequest=fZ%3D&a=b:c",
			want: Dynamic{Response: true, State: "instance-1/6180391/ab12-cd", Username: "N/A", Text: "https://idp.example.test/sso?SAMLRequest=fZ%3D&a=b:c"}},
		{name: "AWS with an address", text: "CRV1:R,192.0.2.1:s:Ti9B:https://idp.example.test/",
			want: Dynamic{Response: true, State: "s", Username: "N/A", Text: "https://idp.example.test/"}},
		{name: "no flags", text: "CRV1::s::see your mail", want: Dynamic{State: "s", Text: "see your mail"}},
		{name: "no text", text: "CRV1:R:s:Y3Ix", bad: true},
		{name: "no state", text: "CRV1:R::Y3Ix:x", bad: true},
		{name: "user not base64", text: "CRV1:R:s:*:x", bad: true},
		{name: "another word", text: "SCRV1:a:b", bad: true},
		{name: "empty", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseDynamic(c.text)
			if c.bad {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("got %+v, %v", got, err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Fatalf("got %+v, %v\nwant %+v", got, err, c.want)
			}
			for _, text := range []string{got.String(), got.AWS()} {
				if back, err := ParseDynamic(text); err != nil || back != got {
					t.Errorf("%q gives %+v, %v", text, back, err)
				}
			}
			state, answer, ok := ParseAnswer(got.Answer("12:34::5"))
			if !ok || state != got.State || answer != "12:34::5" {
				t.Errorf("the answer reads %q %q %v", state, answer, ok)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	for _, password := range []push.Secret{"", "secret", "CRV1:R:s:u:t", "CRV1::", "CRV1::::x", "CRV1::s:x"} {
		if state, _, ok := ParseAnswer(password); ok {
			t.Errorf("%q was taken for the answer to %q", string(password), state)
		}
	}
}

func TestStatic(t *testing.T) {
	if got := Static("pass:word", "123456"); got != "SCRV1:cGFzczp3b3Jk:MTIzNDU2" {
		t.Errorf("got %q", string(got))
	}
	password, response, ok, err := ParseStatic("SCRV1:cGFzczp3b3Jk:MTIzNDU2")
	if err != nil || !ok || password != "pass:word" || response != "123456" {
		t.Errorf("got %q %q %v %v", string(password), string(response), ok, err)
	}
	if _, _, ok, err := ParseStatic("plain"); ok || err != nil {
		t.Errorf("a plain password: %v %v", ok, err)
	}
	for _, bad := range []push.Secret{"SCRV1:", "SCRV1:cGFzcw==", "SCRV1:*:MTIz", "SCRV1:cGFzcw==:*"} {
		_, _, ok, err := ParseStatic(bad)
		if !ok || !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: %v %v", string(bad), ok, err)
		}
		if err != nil && strings.Contains(err.Error(), "cGF") {
			t.Errorf("the error tells the password: %v", err)
		}
	}
}

func TestParsePending(t *testing.T) {
	for _, c := range []struct {
		message string
		want    Pending
		known   bool
		bad     bool
	}{
		{message: "INFO_PRE,WEB_AUTH::https://vpn.example.test/a?b=c:d", known: true, want: Pending{URL: "https://vpn.example.test/a?b=c:d"}},
		{message: "INFO,WEB_AUTH:hidden,external:https://vpn.example.test/", known: true, want: Pending{URL: "https://vpn.example.test/", Hidden: true, External: true}},
		{message: "INFO_PRE,OPEN_URL:https://vpn.example.test/", known: true, want: Pending{URL: "https://vpn.example.test/"}},
		{message: "INFO_PRE,CR_TEXT:R,E:Code:", known: true, want: Pending{Text: "Code:", Response: true, Echo: true}},
		{message: "INFO_PRE,CR_TEXT::wait", known: true, want: Pending{Text: "wait"}},
		{message: "INFO_PRE,CR_TEXT:R", known: true, bad: true},
		{message: "INFO_PRE,WEB_AUTH:https", known: true, bad: true},
		{message: "INFO_PRE,WEB_AUTH:proxy:https://a.test/", known: true, bad: true},
		{message: "INFO_PRE,WEB_AUTH::file:///etc/passwd", known: true, bad: true},
		{message: "INFO_PRE,OPEN_URL:javascript:alert(1)", known: true, bad: true},
		{message: "INFO_PRE,SOMETHING:x"},
		{message: "AUTH_PENDING,timeout 3"},
		{message: ""},
	} {
		got, known, err := ParsePending(c.message)
		if known != c.known || (err != nil) != c.bad || got != c.want {
			t.Errorf("%q: got %+v, %v, %v", c.message, got, known, err)
		}
		if err == nil && known {
			if back, _, err := ParsePending("INFO_PRE," + got.Info()); err != nil || back != got {
				t.Errorf("%q came back as %+v, %v", got.Info(), back, err)
			}
		}
	}
}

func TestCheckURL(t *testing.T) {
	for _, good := range []string{"https://idp.example.test", "http://127.0.0.1:8880/x?a=b&c=%20#f", "https://[2001:db8::1]:8443/"} {
		if err := CheckURL(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "https://", "https:///path", "ftp://a.test/", "file:///bin/sh", "javascript:x", "https://u:p@a.test/",
		"https://a.test/\"x", "https://a.test/ x", "https://a.test/\x01", "//a.test/", "https://a.test/é", `https://a.test\x`, "-h", "https://a.test:port/"} {
		if CheckURL(bad) == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"CRV1:R,E:s:Y3Ix:Please enter", "CRV1:R:a/b:b'Ti9B':https://a.test/", "CRV1::s::12", "SCRV1:cGFzcw==:MTIz",
		"INFO_PRE,WEB_AUTH:hidden:https://a.test/", "INFO,OPEN_URL:http://a.test/", "INFO_PRE,CR_TEXT:R,E:Code"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDynamic(s); err == nil {
			if back, err := ParseDynamic(d.String()); err != nil || back != d {
				t.Fatalf("%+v came back as %+v, %v", d, back, err)
			}
			if state, r, ok := ParseAnswer(d.Answer("x::y")); ok && (state != d.State || r != "x::y") && !strings.Contains(d.State, "::") {
				t.Fatalf("answer to %q reads %q, %q", d.State, state, string(r))
			}
		}
		ParseAnswer(push.Secret(s))
		if p, r, ok, err := ParseStatic(push.Secret(s)); ok && err == nil {
			if p2, r2, _, err := ParseStatic(Static(p, r)); err != nil || p2 != p || r2 != r {
				t.Fatalf("%q %q came back as %q %q, %v", string(p), string(r), string(p2), string(r2), err)
			}
		}
		if p, ok, err := ParsePending(s); ok && err == nil {
			if back, _, err := ParsePending("INFO_PRE," + p.Info()); err != nil || back != p {
				t.Fatalf("%+v came back as %+v, %v", p, back, err)
			}
		}
	})
}
