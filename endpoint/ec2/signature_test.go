package ec2

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// AWS's example credentials, of its "Signature Version 4 test suite".
const (
	suiteKey    = "AKIDEXAMPLE"
	suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	suiteScope  = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
)

// TestSuite is those cases of AWS's test suite that a POST to / can be (and get-vanilla).
func TestSuite(t *testing.T) {
	for _, c := range []struct {
		name, method, body string
		header             [][2]string
		authorization      string
	}{
		{"get-vanilla", "GET", "", nil, "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "POST", "", nil, "SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-key-case", "POST", "", [][2]string{{"X-AMZ-DATE", "20150830T123600Z"}}, "SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-key-sort", "POST", "", [][2]string{{"My-Header1", "value1"}}, "SignedHeaders=host;my-header1;x-amz-date, Signature=c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-header-value-case", "POST", "", [][2]string{{"My-Header1", "VALUE1"}}, "SignedHeaders=host;my-header1;x-amz-date, Signature=cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
		{"get-header-value-trim", "GET", "", [][2]string{{"My-Header1", " value1"}, {"My-Header2", " \"a   b   c\""}}, "SignedHeaders=host;my-header1;my-header2;x-amz-date, Signature=acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-header-key-duplicate", "GET", "", [][2]string{{"My-Header1", "value2"}, {"My-Header1", "value2"}, {"My-Header1", "value1"}}, "SignedHeaders=host;my-header1;x-amz-date, Signature=c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea"},
		{"post-x-www-form-urlencoded", "POST", "Param1=value1", [][2]string{{"Content-Type", "application/x-www-form-urlencoded"}}, "SignedHeaders=content-type;host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"post-x-www-form-urlencoded-parameters", "POST", "Param1=value1", [][2]string{{"Content-Type", "application/x-www-form-urlencoded; charset=utf8"}}, "SignedHeaders=content-type;host;x-amz-date, Signature=1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
	} {
		r := httptest.NewRequest(c.method, "http://example.amazonaws.com/", strings.NewReader(c.body))
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		for _, h := range c.header {
			if http.CanonicalHeaderKey(h[0]) != "X-Amz-Date" {
				r.Header.Add(h[0], h[1])
			}
		}
		a, ok := parseAuthorization(suiteScope + c.authorization)
		if !ok {
			t.Errorf("%s: the header cannot be read", c.name)
			continue
		}
		if got := a.signed(suiteSecret, r, []byte(c.body)); got != a.signature {
			t.Errorf("%s: %s, want %s", c.name, got, a.signature)
		}
	}
}

func TestVerify(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	good := func() (*http.Request, authorization, []byte) {
		body := []byte("Action=DescribeVpcs")
		r := httptest.NewRequest("POST", "http://localhost/", strings.NewReader(string(body)))
		r.Header.Set("X-Amz-Date", "20261123T120000Z")
		a := authorization{key: "k", day: "20261123", region: "r", service: "ec2", headers: []string{"content-length", "host", "x-amz-date"}}
		a.signature = a.signed("secret", r, body)
		return r, a, body
	}
	r, a, body := good()
	for name, c := range map[string]struct {
		want authFault
		got  authFault
	}{
		"as it was signed":            {authOK, a.verify("secret", now, r, body)},
		"15 minutes later":            {authOK, a.verify("secret", now.Add(15*time.Minute), r, body)},
		"15 minutes ago":              {authOK, a.verify("secret", now.Add(-15*time.Minute), r, body)},
		"too late":                    {badTime, a.verify("secret", now.Add(15*time.Minute+time.Second), r, body)},
		"too early":                   {badTime, a.verify("secret", now.Add(-15*time.Minute-time.Second), r, body)},
		"another secret":              {badSignature, a.verify("other", now, r, body)},
		"another body":                {badSignature, a.verify("secret", now, r, []byte("Action=DeleteVpcs!!"))},
		"late, with the wrong secret": {badSignature, a.verify("other", now.Add(time.Hour), r, body)},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d, want %d", name, c.got, c.want)
		}
	}
	for name, change := range map[string]func(*http.Request, *authorization){
		"another host":         func(r *http.Request, _ *authorization) { r.Host = "127.0.0.1" },
		"another length":       func(r *http.Request, _ *authorization) { r.ContentLength++ },
		"a later second":       func(r *http.Request, _ *authorization) { r.Header.Set("X-Amz-Date", "20261123T120001Z") },
		"another region":       func(_ *http.Request, a *authorization) { a.region = "s" },
		"a signature of zeros": func(_ *http.Request, a *authorization) { a.signature = strings.Repeat("0", 64) },
		"a day that is not":    func(_ *http.Request, a *authorization) { a.day = "20261122" },
		"without a date":       func(r *http.Request, _ *authorization) { r.Header.Del("X-Amz-Date") },
		"the host not under it": func(r *http.Request, a *authorization) {
			a.headers = []string{"x-amz-date"}
			a.signature = a.signed("secret", r, body)
		},
		"the date not under it": func(r *http.Request, a *authorization) {
			a.headers = []string{"host"}
			a.signature = a.signed("secret", r, body)
		},
		"an action of ACM not under it": func(r *http.Request, _ *authorization) {
			r.Header.Set("X-Amz-Target", "CertificateManager.DeleteCertificate")
		},
		"a header of AWS not under it": func(r *http.Request, _ *authorization) { r.Header.Set("x-amz-security-token", "x") },
		"an ISO date with a dash":      func(r *http.Request, _ *authorization) { r.Header.Set("X-Amz-Date", "2026-11-23T12:00:00Z") },
		"a date twice in one value": func(r *http.Request, _ *authorization) {
			r.Header.Set("X-Amz-Date", "20261123T120000Z,20261123T120000Z")
		},
	} {
		r, a, body := good()
		change(r, &a)
		if a.verify("secret", now, r, body) == authOK {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParseAuthorization(t *testing.T) {
	const signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
	good := suiteScope + "SignedHeaders=host;x-amz-date, Signature=" + signature
	if a, ok := parseAuthorization(good); !ok || a.key != suiteKey || a.day != "20150830" || a.region != "us-east-1" || a.service != "service" || len(a.headers) != 2 {
		t.Errorf("%+v, %v", a, ok)
	}
	// Some clients leave the spaces out.
	if _, ok := parseAuthorization(strings.ReplaceAll(good, ", ", ",")); !ok {
		t.Error("without spaces")
	}
	for _, bad := range []string{
		"", "Basic abc", "Bearer abc", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ", "AWS4-HMAC-SHA256 Credential",
		"AWS4-ECDSA-P256-SHA256" + strings.TrimPrefix(good, "AWS4-HMAC-SHA256"),
		strings.Replace(good, "aws4_request", "aws3_request", 1),
		strings.Replace(good, "us-east-1/", "", 1),
		strings.Replace(good, "us-east-1", "", 1),
		strings.Replace(good, signature, signature[:62], 1),
		strings.Replace(good, signature, "zz"+signature[2:], 1),
		strings.Replace(good, "host;x-amz-date", "x-amz-date;host", 1),
		strings.Replace(good, "host;x-amz-date", "Host;x-amz-date", 1),
		strings.Replace(good, "host;x-amz-date", "host;;x-amz-date", 1),
		strings.Replace(good, "host;x-amz-date", strings.Repeat("a;", 64)+"host", 1),
		good + ", Signature=" + signature,
		good + ", Other=1",
		good + strings.Repeat(" ", 4096),
	} {
		if a, ok := parseAuthorization(bad); ok {
			t.Errorf("%.80s: %+v", bad, a)
		}
	}
}

func FuzzAuthorization(f *testing.F) {
	f.Add(suiteScope + "SignedHeaders=host;x-amz-date, Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a")
	f.Fuzz(func(t *testing.T, header string) {
		a, ok := parseAuthorization(header)
		if ok && (a.key == "" || a.service == "" || len(a.headers) == 0 || len(a.signature) != 64) {
			t.Fatalf("%+v", a)
		}
		r := httptest.NewRequest("POST", "http://localhost/", nil)
		r.Header.Set("X-Amz-Date", "20261123T120000Z")
		if ok && a.verify("a secret that nobody knows", time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), r, nil) == authOK {
			t.Fatal("somebody knows it")
		}
	})
}
