//go:build linux

package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// execWatch lists what is executed on a node, as the kernel says (fanotify(7)).
type execWatch struct {
	fd    int
	stop  chan struct{}
	wait  sync.WaitGroup
	mu    sync.Mutex
	files []string
}

// watchExec watches the file systems of a node, each of which it sees at a path of its own.
func (s *site) watchExec(n *Node, mounts ...string) *execWatch {
	s.t.Helper()
	w := &execWatch{stop: make(chan struct{})}
	s.ok(n.Do(func() (err error) {
		if w.fd, err = unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_LARGEFILE); err != nil {
			return fmt.Errorf("fanotify: %w", err)
		}
		for _, m := range mounts {
			if err := unix.FanotifyMark(w.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, unix.FAN_OPEN_EXEC, unix.AT_FDCWD, m); err != nil {
				return fmt.Errorf("fanotify mark %s: %w", m, err)
			}
		}
		return nil
	}))
	w.wait.Go(func() {
		for {
			select {
			case <-w.stop:
				w.read()
				unix.Close(w.fd)
				return
			case <-time.After(5 * time.Millisecond):
				w.read()
			}
		}
	})
	return w
}

// read takes what the kernel has.
func (w *execWatch) read() {
	const size = 24 // of struct fanotify_event_metadata
	buf := make([]byte, 4096)
	for {
		n, err := unix.Read(w.fd, buf)
		if err != nil || n < size {
			return
		}
		for b := buf[:n]; len(b) >= size; b = b[binary.NativeEndian.Uint32(b):] {
			fd := int(int32(binary.NativeEndian.Uint32(b[16:])))
			if fd < 0 {
				continue
			}
			name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
			if err != nil {
				name = err.Error()
			}
			unix.Close(fd)
			w.mu.Lock()
			w.files = append(w.files, name)
			w.mu.Unlock()
		}
	}
}

// seen is what was executed so far, each file once.
func (w *execWatch) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Compact(slices.Sorted(slices.Values(w.files)))
}

// end stops the watch and returns what was executed.
func (w *execWatch) end() []string {
	close(w.stop)
	w.wait.Wait()
	return w.seen()
}

// TestExecWatch: the watch sees programs and scripts.
func TestExecWatch(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	script := s.write(s.client, "script", "#!/bin/sh\n:\n")
	s.ok(os.Chmod(script, 0o755))
	w := s.watchExec(s.client, "/", s.client.Dir)
	s.run(s.client, script)
	s.run(s.host, "env")
	seen := w.end()
	if !slices.Contains(seen, script) || !slices.ContainsFunc(seen, func(f string) bool { return f == "/usr/bin/dash" || f == "/bin/sh" }) {
		t.Errorf("it saw %q", seen)
	}
	if slices.Contains(seen, "/usr/bin/env") {
		t.Errorf("it saw another node: %q", seen)
	}
}
