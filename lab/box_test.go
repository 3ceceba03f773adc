//go:build linux

package lab

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// box starts a machine with systemd on a node's network, which ends with the test.
func (s *site) box(n *Node, packages ...string) *Box {
	s.t.Helper()
	needs(s.t, "mmdebstrap", "unshare", "nsenter")
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // the first of all makes the tree
	defer cancel()
	b, err := NewBox(ctx, n, packages...)
	s.ok(err)
	s.t.Cleanup(b.Close)
	return b
}

// in runs a program in a box to its end, which must be a good one.
func (s *site) in(b *Box, argv ...string) string {
	s.t.Helper()
	out, err := s.tryIn(b, argv...)
	if err != nil {
		s.t.Fatalf("%v\njournal:\n%s", err, s.journal(b))
	}
	return out
}

// tryIn runs a program in a box to its end.
func (s *site) tryIn(b *Box, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	return b.Run(ctx, argv...)
}

// journal is the end of what the box's units have said.
func (s *site) journal(b *Box) string {
	out, _ := s.tryIn(b, "journalctl", "--no-pager", "-n", "60", "-o", "short-monotonic")
	return out
}

// TestBox: the machine is one, and nothing of it is left.
func TestBox(t *testing.T) {
	t.Parallel()
	needs(t)
	s := &site{t: t, net: newNet(t)}
	n := s.node("machine")
	b := s.box(n)
	if pid1 := s.in(b, "cat", "/proc/1/comm"); strings.TrimSpace(pid1) != "systemd" {
		t.Errorf("process 1 is %q", pid1)
	}
	if host := s.in(b, "hostname"); strings.TrimSpace(host) != "machine" {
		t.Errorf("its name is %q", host)
	}
	s.ok(b.Write("/usr/local/bin/hello", []byte("#!/bin/sh\necho hello from $1\n"), 0o755))
	s.ok(b.Write("/etc/systemd/system/hello.service", []byte("[Service]\nType=oneshot\nExecStart=/usr/local/bin/hello box\n"), 0o644))
	s.in(b, "systemctl", "start", "hello.service")
	s.until(soon, "the journal has it", func() bool { return strings.Contains(s.journal(b), "hello from box") })
	s.in(b, "touch", "/etc/made-inside")
	if _, err := b.Read("/etc/made-inside"); err != nil {
		t.Error(err)
	}
	tree, err := boxTree(t.Context())
	s.ok(err)
	if _, err := os.Stat(filepath.Join(tree, "etc", "made-inside")); err == nil {
		t.Error("a box writes into the tree of all")
	}
	s.ok(b.Node.Do(func() error { _, err := os.Stat(b.cgroup); return err }))
	b.Close()
	s.ok(n.Do(func() error {
		if left, _ := os.ReadDir(filepath.Dir(b.root)); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		return nil
	}))
	select {
	case <-b.Systemd.Done():
	default:
		t.Error("systemd runs still")
	}
}
