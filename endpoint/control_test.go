package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wrap"
)

// one is a process with one endpoint.
type one struct {
	*Server
	load func() (Config, error)
}

func (o one) TerminateAll(connection, user string) ([]string, int) {
	return o.Terminate(connection, user)
}

func (o one) Reload(ctx context.Context) (int, error) {
	cfg, err := o.load()
	if err != nil {
		return 0, err
	}
	return o.Server.Reload(ctx, cfg)
}

func (o one) ConfigOf(string) (Config, error) { return o.gen.Load().cfg, nil }

func TestControl(t *testing.T) {
	r := start(t, "udp")
	c, err := OpenControl(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenControl(r.dir); !errors.Is(err, ErrRunning) {
		t.Errorf("second endpoint on the directory: %v", err)
	}
	if info, err := os.Stat(filepath.Join(r.dir, SocketName)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket %v %v", info, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	text := "listen: nonsense"
	go func() {
		done <- c.Serve(ctx, ControlHandler(one{r.Server, func() (Config, error) { return ParseConfig("f.yaml", []byte(text)) }}))
	}()
	ask := NewControlClient(r.dir)

	r.connect(t, "ann")
	list, err := ask.Connections(ctx)
	if err != nil || len(list) != 1 || list[0].Client != "ann" {
		t.Fatalf("connections %+v, %v", list, err)
	}
	if cfg, err := ask.Config(ctx, ""); err != nil || !reflect.DeepEqual(cfg, r.gen.Load().cfg) {
		t.Errorf("configuration %+v, %v", cfg, err)
	}
	if _, err := ask.Reload(ctx); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:1: listen:") {
		t.Errorf("reload of a bad file: %v", err)
	}
	if _, err := ask.Terminate(ctx, TerminateRequest{User: "nobody"}); err == nil || !strings.Contains(err.Error(), "no connection of nobody") {
		t.Errorf("terminate nobody: %v", err)
	}
	if _, err := ask.Terminate(ctx, TerminateRequest{}); err == nil {
		t.Error("terminate without a name passed")
	}
	if out, err := ask.Terminate(ctx, TerminateRequest{ID: list[0].ID}); err != nil || len(out.Terminated) != 1 || out.SignIns != 0 {
		t.Errorf("terminate: %+v, %v", out, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := ask.Connections(context.Background()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := OpenControl(r.dir); !errors.Is(err, ErrRunning) {
		t.Errorf("second endpoint while the first one ends: %v", err)
	}
	c.Close()
	// A socket that a dead process left is no obstacle.
	if err := os.WriteFile(filepath.Join(r.dir, SocketName), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	again, err := OpenControl(r.dir)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func FuzzControl(f *testing.F) {
	f.Add("/v1/terminate", []byte(`{"id":"x"}`))
	f.Add("/v1/terminate", []byte(`{"user":"x"}{}`))
	f.Add("/v1/reload", []byte{})
	f.Add("/v1/terminate", bytes.Repeat([]byte("["), 1000))
	cfg, err := ParseConfig("f.yaml", []byte(BuiltinText(DefaultListen(), "udp", "userspace")))
	if err != nil {
		f.Fatal(err)
	}
	s := &Server{peers: newPeers(cfg.ClientCIDR), signedIn: newSignedIn(), leave: Leaves{Now: time.Now}}
	s.gen.Store(&generation{})
	h := ControlHandler(one{s, func() (Config, error) { return Config{}, errors.New("no file") }})
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if !strings.HasPrefix(path, "/v1/") || strings.ContainsAny(path, " \x00\r\n\t%") {
			return
		}
		req, err := http.NewRequest(http.MethodPost, "http://endpoint", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code == http.StatusOK {
			t.Fatalf("%s %q passed without a connection", path, body)
		}
		if path == "/v1/terminate" {
			var e ControlError
			if json.Unmarshal(w.Body.Bytes(), &e) != nil || e.Text == "" {
				t.Fatalf("refused without a reason: %q", w.Body)
			}
		}
	})
}

// TestConnectionKey: a connection shows which tls-crypt-v2 key it used.
func TestConnectionKey(t *testing.T) {
	r := start(t, "udp")
	server, err := r.pki.WrapServer()
	if err != nil {
		t.Fatal(err)
	}
	r.key = "laptop"
	key, err := r.pki.WrapClient(r.key, server, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.connect(t, "ann")
	list := r.Connections()
	if len(list) != 1 || list[0].Key == nil || list[0].Key.ID != key.ID() || list[0].Key.Made == nil || time.Since(*list[0].Key.Made) > time.Hour {
		t.Fatalf("connections %+v, want the key %s", list, key.ID())
	}
	if names, err := r.pki.WrapNames(); err != nil || len(names) != 1 || names[list[0].Key.ID] != "laptop" {
		t.Errorf("names %v, %v", names, err)
	}
	if !strings.Contains(r.log.String(), "tls_crypt_v2="+key.ID()) {
		t.Error("the log does not name the key")
	}
}

func TestKeyOf(t *testing.T) {
	made := time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		m    wrap.Metadata
		want ControlKey
	}{
		{wrap.TimeMetadata(made), ControlKey{ID: "id", Made: &made}},
		{wrap.UserMetadata([]byte("alice's phone")), ControlKey{ID: "id", User: "alice's phone"}},
		{wrap.UserMetadata([]byte("a\x1b[2Jb")), ControlKey{ID: "id", User: "base64:YRtbMkpi"}},
		{wrap.UserMetadata([]byte{0xff}), ControlKey{ID: "id", User: "base64:/w=="}},
		{wrap.Metadata{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ControlKey{ID: "id"}},
		{wrap.Metadata{1, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ControlKey{ID: "id"}},
		{nil, ControlKey{ID: "id"}},
	} {
		if got := keyOf("id", tt.m); !reflect.DeepEqual(*got, tt.want) {
			t.Errorf("%x: %+v, want %+v", tt.m, got, tt.want)
		}
		if _, err := json.Marshal(keyOf("id", tt.m)); err != nil {
			t.Errorf("%x: %v", tt.m, err)
		}
	}
}
