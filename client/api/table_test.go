package api

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/routes"
)

// yes is a Backend that agrees to everything and counts how often it is asked.
type yes struct{ asked int }

func (y *yes) Status(Caller) Status { y.asked++; return Status{} }
func (y *yes) Watch(_ context.Context, _ Caller, send func(Status) error) error {
	y.asked++
	return send(Status{})
}
func (y *yes) Import(Caller, ImportRequest) (Profile, error) { y.asked++; return Profile{}, nil }
func (y *yes) Profiles(Caller) ([]Profile, error)            { y.asked++; return nil, nil }
func (y *yes) Show(Caller, string) (ProfileText, error)      { y.asked++; return ProfileText{}, nil }
func (y *yes) Export(Caller, string) (ProfileText, error)    { y.asked++; return ProfileText{}, nil }
func (y *yes) Rename(Caller, string, string) error           { y.asked++; return nil }
func (y *yes) Remove(Caller, string) error                   { y.asked++; return nil }
func (y *yes) Settings(Caller, string) (Settings, error)     { y.asked++; return Settings{}, nil }
func (y *yes) Set(Caller, string, []string) (Settings, error) {
	y.asked++
	return Settings{}, nil
}
func (y *yes) Connect(Caller, ConnectRequest) error             { y.asked++; return nil }
func (y *yes) Answer(Caller, Answer) error                      { y.asked++; return nil }
func (y *yes) Disconnect(context.Context, Caller, string) error { y.asked++; return nil }
func (y *yes) Version() Version                                 { y.asked++; return Version{} }
func (y *yes) Explain(context.Context, Caller, string) (routes.Explanation, error) {
	y.asked++
	return routes.Explanation{}, nil
}
func (y *yes) Logs(_ context.Context, _ Caller, _ bool, send func(LogLine) error) error {
	y.asked++
	return send(LogLine{})
}

func ask(h http.Handler, caller *Caller, method, target, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if caller != nil {
		r = r.WithContext(withCaller(r.Context(), func() (Caller, bool) { return *caller, true }))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestPermissions is the whole column: who may use what.
func TestPermissions(t *testing.T) {
	open := map[string]bool{ // to every local user
		"GET /v1/status": true, "GET /v1/watch": true, "GET /v1/explain": true, "GET /v1/version": true,
		"GET /v1/profiles": true, "GET /v1/profile": true, "GET /v1/settings": true, "GET /v1/logs": true,
		"POST /v1/disconnect": true,
		"GET /v1/export":      false, "POST /v1/import": false, "POST /v1/rename": false, "POST /v1/remove": false,
		"POST /v1/set": false, "POST /v1/connect": false, "POST /v1/answer": false,
	}
	people := map[string]bool{"POST /v1/set": true, "POST /v1/connect": true, "POST /v1/answer": true} // to persons, too
	y := &yes{}
	s := NewServer(y, SystemMembers, slog.New(slog.DiscardHandler))
	if len(s.routes) != len(open) {
		t.Errorf("%d routes, %d in this test", len(s.routes), len(open))
	}
	for _, r := range s.routes {
		name := r.method + " " + r.path
		toAll, ok := open[name]
		if !ok {
			t.Errorf("%s is not in this test", name)
		}
		if (r.serve == nil) == (r.stream == nil) || r.action == "" {
			t.Errorf("%s: a broken row", name)
		}
		for _, tc := range []struct {
			who    string
			caller *Caller
			may    bool
		}{
			{"nobody known", nil, false},
			{"a stranger", &Caller{Account: "1000", Name: "bob"}, toAll},
			{"a person", &Caller{Account: "1000", Name: "bob", Person: true}, toAll || people[name]},
			{"a member", &Caller{Account: "1001", Name: "ann", Member: true}, true},
			{"root", &Caller{Name: "root", Root: true, Member: true}, true},
		} {
			y.asked = 0
			w := ask(s.handler(), tc.caller, r.method, r.path, "{}")
			if got := w.Code == http.StatusOK; got != tc.may || (y.asked == 1) != tc.may {
				t.Errorf("%s by %s: status %d, backend asked %d times; allowed should be %v", name, tc.who, w.Code, y.asked, tc.may)
			}
			if !tc.may && (w.Code != http.StatusForbidden || !strings.Contains(w.Body.String(), "you may not "+r.action)) {
				t.Errorf("%s by %s: %d %s", name, tc.who, w.Code, w.Body)
			}
		}
	}
}

// TestAsUser: root may ask as an ordinary user, and nobody becomes more by it.
func TestAsUser(t *testing.T) {
	for _, tc := range []struct {
		target string
		caller Caller
		root   bool
	}{
		{"/v1/version", Caller{Root: true, Member: true}, true},
		{"/v1/version?as_user=false", Caller{Root: true, Member: true}, true},
		{"/v1/version?as_user=true", Caller{Root: true, Member: true}, false},
		{"/v1/version?as_user=true", Caller{Account: "1000"}, false},
	} {
		var got *Caller
		s := &LocalServer{log: slog.New(slog.DiscardHandler), routes: []route{{"GET", "/v1/version", anyone, 0, "see", func(c *call) (any, error) {
			got = &c.caller
			return nil, nil
		}, nil}}}
		ask(s.handler(), &tc.caller, "GET", tc.target, "")
		if got == nil || got.Root != tc.root || got.Member != tc.caller.Member || got.Account != tc.caller.Account {
			t.Errorf("%s by %+v is %+v", tc.target, tc.caller, got)
		}
	}
}

func TestBadRequests(t *testing.T) {
	y := &yes{}
	h := NewServer(y, SystemMembers, slog.New(slog.DiscardHandler)).handler()
	root := &Caller{Root: true, Member: true}
	big := `{"name":"` + strings.Repeat("x", smallBody) + `"}`
	for _, tc := range []struct{ method, target, body, want string }{
		{"POST", "/v1/connect", "", "not JSON"},
		{"POST", "/v1/connect", "{} {}", "not JSON"},
		{"POST", "/v1/connect", `{"profile":7}`, "not those of this version"},
		{"POST", "/v1/connect", `{"profile":"x","guard":"secret"}`, "not those of this version"},
		{"POST", "/v1/connect", `{"profile":"x","timeout":-1}`, "negative"},
		{"POST", "/v1/remove", big, "larger than 65536 bytes"},
		{"POST", "/v1/nothing", "{}", "there is no POST /v1/nothing"},
		{"GET", "/v1/connect", "", "there is no GET /v1/connect"},
	} {
		w := ask(h, root, tc.method, tc.target, tc.body)
		if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), tc.want) || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s %s %.40s: %d %s, want %q", tc.method, tc.target, tc.body, w.Code, w.Body, tc.want)
		}
	}
	if y.asked != 0 {
		t.Errorf("the backend was asked %d times", y.asked)
	}
	if w := ask(h, root, "POST", "/v1/import", `{"text":"`+strings.Repeat("x", 2*smallBody)+`"}`); w.Code != http.StatusOK {
		t.Errorf("a large profile: %d %s", w.Code, w.Body)
	}
}

// FuzzRequest sends anything to every route: the answer is always JSON, never a panic,
// and a body that is taken is a JSON object.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `{"name":"work"}`, `{"name":"work","to":"home"}`, `{"name":"a","changes":["guard=auto"]}`,
		`{"profile":"work","timeout":5000000000}`, `{"name":"a","text":"client\nremote x","replace":true}`,
		`null`, `[]`, `{"name":`, `{"name":"\ud800"}`, `{"timeout":1e400}`,
	} {
		f.Add("name=work&destination=10.0.0.1&follow=true", []byte(body))
	}
	f.Add("name=%zz;&&==", []byte{0xff})
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		y := &yes{}
		s := NewServer(y, SystemMembers, slog.New(slog.NewTextHandler(failOnError{t}, &slog.HandlerOptions{Level: slog.LevelError})))
		h := s.handler()
		for _, rt := range s.routes {
			r, err := http.NewRequest(rt.method, "http://adit"+rt.path, strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.RawQuery = query
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(withCaller(t.Context(), func() (Caller, bool) { return Caller{Root: true, Member: true}, true })))
			d := json.NewDecoder(w.Body)
			for {
				var v any
				if err := d.Decode(&v); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%s answered %d with no JSON: %v", rt.path, w.Code, err)
				}
			}
			if rt.body > 0 && w.Code == http.StatusOK && !json.Valid(body) {
				t.Fatalf("%s took %q", rt.path, body)
			}
			if (w.Code == http.StatusOK) != (y.asked == 1) {
				t.Fatalf("%s: status %d, backend asked %d times", rt.path, w.Code, y.asked)
			}
			y.asked = 0
		}
	})
}

// failOnError makes an error in the server's log fail the test: that is a caught panic.
type failOnError struct{ t *testing.T }

func (f failOnError) Write(b []byte) (int, error) {
	f.t.Errorf("server log: %s", b)
	return len(b), nil
}
