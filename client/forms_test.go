package client

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// stateFiles writes the files of a state directory.
func stateFiles(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func fileText(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestFormsOfBefore: files from before versions were written are read, and get one with the next change.
func TestFormsOfBefore(t *testing.T) {
	dir := stateFiles(t, map[string]string{
		"users/1000/profile-work.json": `{"name":"work","owner_name":"alice","imported":"2026-01-02T03:04:05Z","notes":null,"settings":{"auto_connect":true,"guard":"lockdown"},"text":"client"}`,
		"users/1000/managed.json":      `{"save_password":["office"]}`,
		"wishes.json":                  `[{"owner":"1000","owner_name":"alice","profile":"work","auto":true}]`,
	})
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	k := key{"1000", "work"}
	r, err := s.get(k)
	if err != nil || r.Text != "client" || !r.Settings.AutoConnect || r.Settings.Guard != guardLockdown || r.OwnerName != "alice" || r.Imported.Year() != 2026 {
		t.Errorf("%+v %v", r, err)
	}
	if w := s.wanted(); len(w) != 1 || w[0] != (wish{Owner: "1000", OwnerName: "alice", Profile: "work", Auto: true}) {
		t.Errorf("wishes %+v", w)
	}
	if !s.saves(key{"1000", "office"}) {
		t.Error("the choice is lost")
	}
	_, err1 := s.update(k, func(r *record) error { return applySetting(&r.Settings, "guard=auto") })
	err2, err3 := s.want(wish{Owner: "1000", Profile: "other"}, true), s.save(key{"1000", "home"}, true)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"users/1000/profile-work.json", "users/1000/managed.json", "wishes.json"} {
		if text := fileText(t, dir, name); !strings.Contains(text, `"version": 1`) {
			t.Errorf("%s has no version: %s", name, text)
		}
	}
	again, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	if r, err := again.get(k); err != nil || r.Settings.Guard != guardAuto || !r.Settings.AutoConnect || len(again.wanted()) != 2 || !again.saves(key{"1000", "home"}) {
		t.Errorf("read again: %+v %v %v", r, err, again.wanted())
	}
}

// TestFormsKeepWhatIsAdded: what a later version has added to a form survives an earlier one that changes the file.
func TestFormsKeepWhatIsAdded(t *testing.T) {
	dir := stateFiles(t, map[string]string{
		"users/1000/profile-work.json": `{"version":1,"name":"work","notes":[],"colour":{"is":"red"},"settings":{"guard":"off","dns_over":"tls","list":[1,2]},"text":"client"}`,
		"users/1000/managed.json":      `{"version":1,"save_password":[],"favourite":"office"}`,
		"wishes.json":                  `{"version":1,"wishes":[{"owner":"1000","profile":"work","until":"noon"},{"owner":"1000","profile":"home","until":{"at":1}}],"paused":["home"]}`,
	})
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	k := key{"1000", "work"}
	_, err1 := s.update(k, func(r *record) error { return applySetting(&r.Settings, "guard=auto") })
	_, err2 := s.put("1000", record{Name: "work", Text: "another"}, true)
	if err := errors.Join(err1, err2, s.save(key{"1000", "office"}, true)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.copy(k, "renamed"), s.remove(k)); err != nil {
		t.Fatal(err)
	}
	// One wish is changed, one ends, one is new: of the name of the one that ended.
	home := wish{Owner: "1000", Profile: "home"}
	err1 = s.want(wish{Owner: "1000", Profile: "work", Person: "1001"}, true)
	if err := errors.Join(err1, s.want(home, false), s.want(home, true)); err != nil {
		t.Fatal(err)
	}
	object := func(name string) (o map[string]any) {
		t.Helper()
		if err := json.Unmarshal([]byte(fileText(t, dir, name)), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	r := object("users/1000/profile-renamed.json")
	settings, _ := r["settings"].(map[string]any)
	if !reflect.DeepEqual(r["colour"], map[string]any{"is": "red"}) || settings["dns_over"] != "tls" || !reflect.DeepEqual(settings["list"], []any{1.0, 2.0}) ||
		settings["guard"] != "auto" || r["text"] != "another" || r["name"] != "renamed" {
		t.Errorf("the profile: %v", r)
	}
	if p := object("users/1000/managed.json"); p["favourite"] != "office" || !reflect.DeepEqual(p["save_password"], []any{"office"}) {
		t.Errorf("the choices: %v", p)
	}
	want := []any{
		map[string]any{"owner": "1000", "owner_name": "", "profile": "work", "person": "1001", "until": "noon"},
		map[string]any{"owner": "1000", "owner_name": "", "profile": "home"},
	}
	if w := object("wishes.json"); !reflect.DeepEqual(w["wishes"], want) || !reflect.DeepEqual(w["paused"], []any{"home"}) {
		t.Errorf("the wishes: %v", w)
	}
}

// TestLaterForms: a file in a form of a later version is neither read nor changed, and who wants to is told so.
func TestLaterForms(t *testing.T) {
	files := map[string]string{
		"users/1000/profile-later.json": `{"version":2,"name":"later","settings":"elsewhere","text":"client"}`,
		"users/1000/profile-work.json":  `{"version":1,"name":"work","notes":[],"settings":{},"text":"client"}`,
		"users/1000/managed.json":       `{"version":2,"save_password":{"office":"always"}}`,
		"wishes.json":                   `{"version":2,"wishes":{"work":"up"}}`,
	}
	dir := stateFiles(t, files)
	s, err := openStore(dir, nil, quiet())
	if err != nil {
		t.Fatal(err)
	}
	later := key{"1000", "later"}
	told := func(what string, err error) {
		t.Helper()
		if !api.IsCode(err, api.CodeProfileStoreError) || !strings.Contains(err.Error(), "a later version of Adit has written it") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = s.get(later)
	told("get", err)
	_, err = s.update(later, func(*record) error { return nil })
	told("update", err)
	told("copy", s.copy(later, "other"))
	told("remove", s.remove(later))
	told("the choice", s.save(key{"1000", "office"}, true))
	if _, err := s.put("1000", record{Name: "later"}, true); !api.IsCode(err, api.CodeProfileExists) {
		t.Errorf("import: %v", err)
	}
	if err := s.copy(key{"1000", "work"}, "LATER"); !api.IsCode(err, api.CodeProfileExists) {
		t.Errorf("copy: %v", err)
	}
	if !s.isLater(hostOf(later)) || s.isLater(hostOf(key{"1000", "work"})) {
		t.Error("whose guard is to stay closed is not known")
	}
	if list := s.list("1000"); len(list) != 1 || list[0].Name != "work" {
		t.Errorf("profiles: %+v", list)
	}
	// Wishes are begun anew; the file stays beside them.
	if err := s.want(wish{Owner: "1000", Profile: "work"}, true); err != nil || len(s.wanted()) != 1 {
		t.Errorf("wishes: %v %v", s.wanted(), err)
	}
	aside, _ := filepath.Glob(filepath.Join(dir, "wishes.json.broken-*"))
	if len(aside) != 1 || fileText(t, aside[0]) != files["wishes.json"] {
		t.Errorf("kept: %v", aside)
	}
	for _, name := range []string{"users/1000/profile-later.json", "users/1000/managed.json"} {
		if text := fileText(t, dir, name); text != files[name] {
			t.Errorf("%s was changed: %s", name, text)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"name":"work","notes":[],"colour":{"is":"red"},"settings":{"guard":"off","dns_over":"tls"},"text":"client"}`))
	f.Add([]byte(`{"version":2}`))
	f.Add([]byte(`{"version":1,"wishes":[{"owner":"1000","profile":"work","until":"noon"},null],"paused":[]}`))
	f.Add([]byte(`[{"owner":"1000","profile":"work"}]`))
	f.Add([]byte(`{"NAME":"x","settings":null,"Version":1,"managed":false}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if list, kept, err := parseWishes(text); err == nil {
			out, err := formatWishes(list, kept)
			if err != nil {
				t.Fatalf("%+v: %v", list, err)
			}
			list, kept, err = parseWishes(out)
			if err != nil {
				t.Fatalf("%s: %v", out, err)
			}
			if twice, err := formatWishes(list, kept); err != nil || string(twice) != string(out) {
				t.Errorf("%v\n%s\n%s", err, out, twice)
			}
		}
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		out, err := formatRecord(r)
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		again, err := parseRecord(out)
		if err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		if twice, err := formatRecord(again); err != nil || string(twice) != string(out) {
			t.Errorf("%v\n%s\n%s", err, out, twice)
		}
	})
}
