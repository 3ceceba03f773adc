package watch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFoldersSayWhatChanges does what administrators and their tools do, on folders that come and go.
func TestFoldersSayWhatChanges(t *testing.T) {
	root := t.TempDir()
	adit := filepath.Join(root, "etc", "adit")
	profiles := filepath.Join(adit, "profiles")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	file := func(path string) func() error {
		return func() error { return os.WriteFile(path, []byte(time.Now().String()), 0o644) }
	}
	policy := filepath.Join(adit, "policy.json")

	ctx, cancel := context.WithCancelCause(t.Context())
	hints, over := make(chan struct{}, 1000), make(chan error, 1)
	go func() { over <- Folders(ctx, []string{adit, profiles}, func() { hints <- struct{}{} }) }()
	quiet := func() {
		for {
			select {
			case <-hints:
			case <-time.After(100 * time.Millisecond):
				return
			}
		}
	}
	select {
	case <-hints:
	case err := <-over:
		t.Fatalf("it does not begin: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("it does not say that it watches")
	}
	for _, step := range []struct {
		name string
		do   func() error
		not  bool
	}{
		{name: "a folder above comes", do: func() error { return os.Mkdir(filepath.Join(root, "etc"), 0o755) }},
		{name: "another file beside it", do: file(filepath.Join(root, "etc", "hosts")), not: true},
		{name: "the folder comes", do: func() error { return os.Mkdir(adit, 0o755) }},
		{name: "a file comes", do: file(policy)},
		{name: "it is written", do: file(policy)},
		{name: "its mode changes", do: func() error { return os.Chmod(policy, 0o600) }},
		{name: "it is replaced", do: func() error {
			return errors.Join(file(policy+".new")(), os.Rename(policy+".new", policy))
		}},
		{name: "a folder in it comes", do: func() error { return os.Mkdir(profiles, 0o755) }},
		{name: "a file in that", do: file(filepath.Join(profiles, "corp.ovpn"))},
		{name: "the file goes", do: func() error { return os.Remove(filepath.Join(profiles, "corp.ovpn")) }},
		{name: "the folder is moved away", do: func() error { return os.Rename(adit, adit+".old") }},
		{name: "a file where it was moved to", do: file(filepath.Join(adit+".old", "policy.json")), not: true},
		{name: "another one is moved there", do: func() error {
			return errors.Join(os.MkdirAll(filepath.Join(root, "etc", "new", "profiles"), 0o755), os.Rename(filepath.Join(root, "etc", "new"), adit))
		}},
		{name: "a file in that one's folder", do: file(filepath.Join(profiles, "office.ovpn"))},
		{name: "all goes", do: func() error { return os.RemoveAll(filepath.Join(root, "etc")) }},
		{name: "and comes again", do: func() error { return os.MkdirAll(profiles, 0o755) }},
		{name: "with a file", do: file(filepath.Join(profiles, "corp.ovpn"))},
	} {
		quiet()
		must(step.do())
		select {
		case <-hints:
			if step.not {
				t.Errorf("%s: it calls that a change", step.name)
			}
		case <-time.After(map[bool]time.Duration{true: 300 * time.Millisecond, false: 10 * time.Second}[step.not]):
			if !step.not {
				t.Fatalf("%s: it says nothing", step.name)
			}
		}
	}
	enough := errors.New("enough")
	cancel(enough)
	if err := <-over; !errors.Is(err, enough) {
		t.Errorf("the end is %v", err)
	}
}
