package source

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

func TestFetch(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/office.ovpn", "/":
			io.WriteString(w, "client\nremote x\nca ca.crt\n")
		case "/away":
			http.Redirect(w, r, "/office.ovpn", http.StatusFound)
		case "/down":
			http.Redirect(w, r, plain.URL, http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/big":
			w.Write(make([]byte, maxSource+1))
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	for _, tc := range []struct{ path, name, want string }{
		{"/office.ovpn", "office", ""},
		{"/away", "away", ""},
		{"", "127.0.0.1", ""},
		{"/down", "", "redirected away from https"},
		{"/loop", "", "redirected too often"},
		{"/big", "", "larger than 4 MiB"},
		{"/nothing?token=1", "", "404 Not Found"},
	} {
		s, err := Read(t.Context(), web.Client(), web.URL+tc.path)
		if tc.want != "" {
			if !api.IsCode(err, api.CodeFetchFailed) && !api.IsCode(err, api.CodeFileTooLarge) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: %v, want %q", tc.path, err, tc.want)
			}
			continue
		}
		if err != nil || s.Name != tc.name || !strings.HasPrefix(string(s.Text), "client\n") {
			t.Errorf("%s: %+v, %v", tc.path, s, err)
		}
		// A text from the network must not choose among our files.
		if s.Files != nil {
			t.Errorf("%s: may read files", tc.path)
		}
		if _, err := profile.Parse("x", s.Text, s.Files); err == nil || !strings.Contains(err.Error(), "line 3") {
			t.Errorf("%s: a file reference gives %v", tc.path, err)
		}
	}
	if _, err := Read(t.Context(), http.DefaultClient, web.URL); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an untrusted server: %v", err)
	}
	if _, err := Read(t.Context(), http.DefaultClient, plain.URL+"/x.ovpn"); !api.IsCode(err, api.CodeURLNotHTTPS) {
		t.Errorf("plain http: %v", err)
	}
}

func TestReadFileIsLimited(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.ovpn")
	if err := os.WriteFile(big, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, maxSource+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), nil, big); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("profile: %v", err)
	}
	if _, err := readBeside(dir, "big.ovpn"); err == nil || !strings.Contains(err.Error(), "larger than 4 MiB") {
		t.Errorf("key file: %v", err)
	}
}
