package client

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestStoreKeepsAndProtects(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	k := key{"1000", "work"}
	if _, err := s.put("1000", record{Name: "work", Text: "secret"}, false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.put("1000", record{Name: "work"}, false); !api.IsCode(err, api.CodeProfileExists) {
		t.Errorf("a second import: %v", err)
	}
	if _, err := s.put("1000", record{Name: "WORK"}, false); !api.IsCode(err, api.CodeProfileExists) {
		t.Errorf("a name that differs in case only: %v", err)
	}
	if _, err := s.update(k, func(r *record) error { return applySetting(&r.Settings, "auto_connect=true") }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.put("1000", record{Name: "work", Text: "another"}, true); err != nil {
		t.Fatal(err)
	}
	if err := s.want(wish{Owner: "1000", Profile: "work"}, true); err != nil {
		t.Fatal(err)
	}
	err = filepath.Walk(dir, func(path string, i os.FileInfo, err error) error {
		if err == nil && i.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, i.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	again, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	r, err := again.get(k)
	if err != nil || r.Text != "another" || !r.Settings.AutoConnect {
		t.Errorf("read back %+v, %v", r, err)
	}
	if w := again.wanted(); len(w) != 1 || w[0].Profile != "work" {
		t.Errorf("wishes %v", w)
	}
	if err := again.copy(k, strings.ToUpper(k.name)); !api.IsCode(err, api.CodeProfileExists) {
		t.Errorf("a name that differs only in case: %v", err)
	}
	if err := errors.Join(again.copy(k, "home"), again.remove(k)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(again.path(k)); !os.IsNotExist(err) {
		t.Errorf("the old file: %v", err)
	}
	if err := again.remove(key{"1000", "home"}); err != nil || len(again.list("1000")) != 0 {
		t.Errorf("remove: %v, left %v", err, again.list("1000"))
	}
}

func TestStoreMovesBrokenFilesAside(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"good", "broken", "other"} {
		if _, err := s.put("1000", record{Name: name, Text: "x"}, false); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(s.path(key{"1000", "broken"}), `{"name": "bro`)
	write(s.path(key{"1000", "other"}), `{"name": "../../etc/passwd"}`)
	half := filepath.Join(filepath.Dir(s.path(key{"1000", "good"})), ".profile-good.json.adit-1")
	write(half, "half a write")
	write(filepath.Join(dir, "wishes.json"), "\x00\x00\x00")
	var log strings.Builder
	again, err := openStore(dir, nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if l := again.list("1000"); len(l) != 1 || l[0].Name != "good" {
		t.Errorf("kept %v", l)
	}
	if n := strings.Count(log.String(), "moved aside"); n != 3 {
		t.Errorf("%d messages:\n%s", n, log.String())
	}
	var names []string
	files, _ := os.ReadDir(filepath.Join(dir, "users", "1000"))
	for _, f := range files {
		names = append(names, f.Name())
	}
	if len(names) != 3 || !slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, "profile-broken.json.broken-") }) {
		t.Errorf("files %v", names)
	}
	if err := again.want(wish{Owner: "1000", Profile: "good"}, true); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	var s api.Settings
	for _, c := range []string{"auto_connect=true", "guard=off", "guard=lockdown", "guard=auto", "route+=10.1.2.3/8", "route-=192.168.0.0/16", "route+=10.0.0.0/8", `pull_filter=ignore "dhcp-option DNS"`} {
		if err := applySetting(&s, c); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
	if !s.AutoConnect || len(s.RouteAdd) != 1 || s.RouteAdd[0].String() != "10.0.0.0/8" || len(s.RouteRemove) != 1 || len(s.PullFilter) != 1 {
		t.Errorf("settings %+v", s)
	}
	if err := applySetting(&s, "route-=10.0.0.0/8"); err != nil || len(s.RouteAdd) != 0 || len(s.RouteRemove) != 2 {
		t.Errorf("route- after route+: %+v, %v", s, err)
	}
	if err := applySetting(&s, "route-="); err != nil || len(s.RouteRemove) != 0 {
		t.Errorf("an empty value must empty the list: %+v, %v", s, err)
	}
	for _, c := range []string{"", "guard", "guard=maybe", "route+=here", "pull_filter=drop x", "pull_filter=ignore", "proxy=http://x", "proxy=proxy:3128", "proxy=https://x:1", "proxy=http://u:secret@x:1", "proxy=socks5://x:0", "proxy=http://x:1/y", "proxy=http://a b:1", "save_password=perhaps", "nonsense=1", "auto_connect=perhaps"} {
		if err := applySetting(&s, c); !api.IsCode(err, api.CodeSettingInvalid) {
			t.Errorf("%q: %v", c, err)
		}
	}
}

func TestServiceRefusesFileReferences(t *testing.T) {
	s, err := NewService(ServiceConfig{StateDir: t.TempDir(), Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Import(alice, api.ImportRequest{Name: "x", Text: "client\nremote 192.0.2.1\nca /etc/shadow\n"})
	if !api.IsCode(err, api.CodeProfileInvalid) {
		t.Errorf("a file reference: %v", err)
	}
	if _, err = s.Import(alice, api.ImportRequest{Name: "x", Text: strings.Repeat("#", maxProfileText+1)}); !api.IsCode(err, api.CodeProfileInvalid) {
		t.Errorf("too much text: %v", err)
	}
}

func TestLogRing(t *testing.T) {
	r := newRing(3)
	log := slog.New(&tee{ring: r, next: slog.DiscardHandler}).With(profileKey, "work", ownerKey, "1000")
	for _, text := range []string{"one", "two", "three", "fo\nur\x1b[31m"} {
		log.Info(text, "n", 1, slog.Group("g", "k", "v"))
	}
	var got []string
	may := func(owner string) bool { return owner == "1000" }
	if err := r.read(t.Context(), false, may, func(l api.LogLine) error { got = append(got, l.Profile+": "+l.Text); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{"work: two n=1 g.k=v", "work: three n=1 g.k=v", "work: fo·ur·[31m n=1 g.k=v"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// TestStoreOwners: accounts of all systems own profiles, and nothing else does.
func TestStoreOwners(t *testing.T) {
	dir := t.TempDir()
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	owners := []string{"0", "1000", "S-1-5-21-3623811015-3361044348-30300820-1013"}
	for _, owner := range owners {
		if _, err := s.put(owner, record{Name: "work", Text: "of " + owner}, false); err != nil {
			t.Fatal(err)
		}
	}
	for _, owner := range []string{"", "..", "alice"} {
		if _, err := s.put(owner, record{Name: "work"}, false); !api.IsCode(err, api.CodeProfileStoreError) {
			t.Errorf("owner %q: %v", owner, err)
		}
		if err := s.save(key{owner, "work"}, true); !api.IsCode(err, api.CodeProfileStoreError) {
			t.Errorf("owner %q saves: %v", owner, err)
		}
	}
	if again, err := openStore(dir, nil, quiet()); err != nil || len(again.profiles) != len(owners) || again.profiles[key{owners[2], "work"}].Text != "of "+owners[2] {
		t.Errorf("read again: %v, %v", again.profiles, err)
	}
}

// backwards is a sealer that turns bytes around.
type backwards struct{ mark byte }

func (b backwards) Seal(p []byte) ([]byte, error) {
	out := append([]byte{b.mark}, p...)
	slices.Reverse(out)
	return out, nil
}

func (b backwards) Open(p []byte) ([]byte, error) {
	out := slices.Clone(p)
	slices.Reverse(out)
	if len(out) == 0 || out[0] != b.mark {
		return nil, errors.New("another machine's")
	}
	return out[1:], nil
}

// TestStoreSeals: what the system can seal is not in the files to be read, and what was there before is read once more.
func TestStoreSeals(t *testing.T) {
	dir := t.TempDir()
	plain, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plain.put("1000", record{Name: "old", Text: "an old key"}, false); err != nil {
		t.Fatal(err)
	}
	s, err := openStore(dir, backwards{1}, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := s.get(key{"1000", "old"}); err != nil || r.Text != "an old key" {
		t.Errorf("one that is not sealed: %+v, %v", r, err)
	}
	if _, err := s.put("1000", record{Name: "new", Text: "a new key"}, false); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.copy(key{"1000", "old"}, "older"), s.remove(key{"1000", "old"})); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"new", "older"} {
		b, err := os.ReadFile(s.path(key{"1000", name}))
		if err != nil || strings.Contains(string(b), "key") || strings.Contains(string(b), name) {
			t.Errorf("%s is in its file: %s, %v", name, b, err)
		}
	}
	again, err := openStore(dir, backwards{1}, quiet())
	if err != nil || len(again.list("1000")) != 2 || again.list("1000")[0].Text != "a new key" {
		t.Fatalf("read again: %+v, %v", again.list("1000"), err)
	}
	elsewhere, err := openStore(dir, backwards{2}, quiet())
	if err != nil || len(elsewhere.list("1000")) != 0 {
		t.Fatalf("on another machine: %+v, %v", elsewhere.list("1000"), err)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "users", "1000", "*.broken-*")); len(files) != 2 {
		t.Errorf("moved aside: %v", files)
	}
}
