package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

const testProfile = `client
dev tun
remote vpn.example.com 1194
auth-user-pass
ca ca.crt
`

// TestProvision: what cannot be used leaves everything as it was; what can is checked, and written without the files it named.
func TestProvision(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("in/ca.crt", string(ovpntest.NewPKI(t).CA()))
	corp := write("in/corp.OVPN", testProfile)
	bad := write("bad/ca.ovpn", "remote a\nca ../in/ca.crt\n")
	good := write("policy.json", `{"AllowUserProfiles": false, "MaxConnections": 2, "AllowedServers": ["vpn.example.com"]}`)
	wrong := write("wrong.json", `{"AllowUserProfile": false}`)
	out := filepath.Join(dir, "out")
	var policies []map[string]any
	to := target{
		folder: func() (string, error) { return out, os.MkdirAll(out, 0o700) },
		policy: func(p client.Policy) error { policies = append(policies, p.Written()); return nil },
	}
	for _, c := range []struct {
		profile, policy string
		check           bool
		wants           string // an error, or a line
	}{
		{corp, wrong, false, "AllowUserProfile: there is no such key"},
		{bad, good, false, "is not beside the profile"},
		{filepath.Join(dir, "out-of-nothing"), "", false, "no such file"},
		{filepath.Dir(good) + "/empty", "", false, "no such file"},
		{good, "", false, "does not end in .ovpn"},
		{corp, good, true, "nothing was changed"},
	} {
		var said strings.Builder
		err := provision(to, c.profile, c.policy, c.check, &said)
		if err != nil {
			said.WriteString(err.Error())
		}
		if !strings.Contains(strings.ToLower(said.String()), strings.ToLower(c.wants)) || c.check != (err == nil) {
			t.Errorf("%+v: %v, %q", c, err, said.String())
		}
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) || policies != nil {
		t.Fatalf("something was written: %v, %v", err, policies)
	}

	// Windows' command lines make the end of a quoted folder a quote.
	var said strings.Builder
	if err := provision(to, filepath.Dir(corp)+`"`, good, false, &said); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(out, "corp.ovpn"))
	if err != nil || !strings.Contains(string(text), "<ca>") || strings.Contains(string(text), "ca.crt") {
		t.Errorf("profile: %v\n%s", err, text)
	}
	want := []map[string]any{{"AllowUserProfiles": false, "MaxConnections": 2, "AllowedServers": []string{"vpn.example.com"}}}
	if !reflect.DeepEqual(policies, want) {
		t.Errorf("policies %v, want %v", policies, want)
	}
	if !strings.Contains(said.String(), "managed profile corp is in place\nthe policy is in place") {
		t.Errorf("said %q", said.String())
	}
}

// key is a registry's key.
type key struct{ held map[string]any }

func (k *key) Write(v map[string]any) error { k.held = maps.Clone(v); return nil }
func (k *key) Remove() error                { k.held = nil; return nil }
func (k *key) Values() (map[string]any, error) {
	if k.held == nil {
		return nil, fs.ErrNotExist
	}
	return k.held, nil
}

// TestTakeBack: a policy goes again only as long as it is what was given, and nothing else was added or changed.
func TestTakeBack(t *testing.T) {
	policy, err := client.ParsePolicy([]byte(`{"AlwaysOn": true, "AutoConnect": "corp", "AllowedServers": ["a.example.com", "b.example.com"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		change func(*key)
		stays  bool
	}{
		"as it was given":  {func(*key) {}, false},
		"gone already":     {func(k *key) { k.held = nil }, false},
		"one key added":    {func(k *key) { k.held["MaxConnections"] = uint64(2) }, true},
		"one key changed":  {func(k *key) { k.held["AlwaysOn"] = false }, true},
		"one key gone":     {func(k *key) { delete(k.held, "AlwaysOn") }, true},
		"another list":     {func(k *key) { k.held["AllowedServers"] = []string{"a.example.com"} }, true},
		"written in place": {func(k *key) { k.held = map[string]any{"Guard": "lockdown"} }, true},
	} {
		at, state := &key{map[string]any{"Guard": "lockdown"}}, t.TempDir()
		if stays, err := takeBack(at, state); err != nil || !stays || at.held == nil {
			t.Errorf("%s: what nobody gave: %v, %v, %v", what, stays, err, at.held)
		}
		if err := give(at, state, policy); err != nil {
			t.Fatal(err)
		}
		c.change(at)
		if stays, err := takeBack(at, state); err != nil || stays != c.stays || (at.held != nil) != c.stays {
			t.Errorf("%s: %v, %v, %v", what, stays, err, at.held)
		}
	}
}

// TestPurge: the state goes with all that is in it, and a state directory that somebody names does not.
func TestPurge(t *testing.T) {
	dir := t.TempDir()
	state := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(state, "journal", "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	forgot := ""
	if stays, err := purge(state, func(at string) (bool, error) { forgot = at; _, err := os.Stat(at); return true, err }); err != nil || !stays || forgot != state {
		t.Errorf("%v, %v, %q", stays, err, forgot)
	}
	if _, err := os.Stat(state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the state is there: %v", err)
	}
	elsewhere := filepath.Join(dir, "elsewhere")
	file := filepath.Join(elsewhere, "file")
	if err := errors.Join(os.Mkdir(elsewhere, 0o700), os.WriteFile(file, nil, 0o600), os.Symlink(elsewhere, state)); err != nil {
		t.Fatal(err)
	}
	if _, err := purge(state, func(string) (bool, error) { return false, nil }); err == nil || !strings.Contains(err.Error(), state+" is a link") {
		t.Errorf("a link: %v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	var stdout, stderr strings.Builder
	code := execute(context.Background(), []string{"cleanup", "--purge", "--state", dir}, terminal(&stdout, &stderr, func() error { return nil }))
	if code != exitUsage || !strings.Contains(stderr.String(), "--purge is for the service's own") {
		t.Errorf("code %d, %s", code, stderr.String())
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
}
