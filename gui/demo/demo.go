// Package demo runs the bundled server, adit-endpoint, in the person's own session, so that the app can be tried
// without any server of one's own.
package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

const (
	// profileName is what the profile is called among the person's.
	profileName = "demo"
	// page is in the network that the server makes when it has no configuration (docs/endpoint.md).
	page = "http://10.98.0.1/"
	// readyTime is how long the server may take to make its keys and listen.
	readyTime = 20 * time.Second
	// endTime is how long it may take to end when it is asked to.
	endTime = 3 * time.Second
	// maxProfile bounds its profile, and maxSaid what is kept of what it says, bytes.
	maxProfile = 1 << 20
	maxSaid    = 4 << 10
)

// Server is the bundled server. It may be started more than once; it runs until Close, or until it ends by itself.
// Safe for concurrent use.
type Server struct {
	program, dir string

	look   sync.Mutex
	listen string // where it listens, or did when it ran last; empty: it never ran. Guarded by look

	turn    sync.Mutex    // held while it starts or ends; guards what follows
	ended   chan struct{} // closed when the running one has ended; nil: none was started
	process *os.Process
	profile string
}

// Find returns the server of program's own directory, which keeps its data in dir; nil where it is not there.
func Find(program, dir string) *Server {
	name := "adit-endpoint"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	path := filepath.Join(filepath.Dir(program), name)
	if info, err := os.Stat(path); err != nil || info.IsDir() {
		return nil
	}
	s := &Server{program: path, dir: dir}
	// What is not an address, or not there, is as if it had never run.
	if text, err := os.ReadFile(s.listenFile()); err == nil {
		if a, err := netip.ParseAddrPort(strings.TrimSpace(string(text))); err == nil && a.Addr().IsLoopback() {
			s.listen = a.String()
		}
	}
	return s
}

// listenFile keeps the address, so that the profile of an earlier run can be told from others, and stays good.
func (s *Server) listenFile() string { return filepath.Join(s.dir, "demo-listen") }

// Serves says whether a stored profile is for this server, as it listens or did when it ran last.
func (s *Server) Serves(p api.Profile) bool {
	s.look.Lock()
	defer s.look.Unlock()
	return s.listen != "" && !p.Managed && slices.Equal(p.Remotes, []string{s.listen + "/udp"})
}

// Page is the address of the web page in the server's network.
func (s *Server) Page() string { return page }

// Start starts the server unless it runs, and returns a profile for it. It gives up with ctx.
func (s *Server) Start(ctx context.Context) (api.ProfileText, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	if !s.running() {
		if err := s.start(ctx); err != nil {
			return api.ProfileText{}, fmt.Errorf("the bundled server does not start: %w", err)
		}
	}
	f, err := os.Open(s.profile)
	if err != nil {
		return api.ProfileText{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxProfile))
	return api.ProfileText{Name: profileName, Text: string(text)}, err
}

func (s *Server) running() bool {
	if s.ended == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// start returns when the server has said where its profile is.
func (s *Server) start(ctx context.Context) error {
	s.look.Lock()
	listen := s.listen
	s.look.Unlock()
	listen, err := free(listen)
	if err != nil {
		return err
	}
	cmd := exec.Command(s.program, "up", "--data", s.dir, "--listen", listen)
	cmd.Dir = filepath.Dir(s.program)
	own(cmd)
	var said tail
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	ended, ready, started := make(chan struct{}), make(chan string, 1), make(chan error)
	go func() { // ends with the process, which Close waits for
		// The server ends with the thread that starts it (own), which is this one's as long as it runs.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if started <- err; err != nil {
			return
		}
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if file, ok := strings.CutPrefix(lines.Text(), "profile: "); ok {
				select {
				case ready <- file:
				default:
				}
			}
		}
		_, _ = io.Copy(io.Discard, out) // a line that is too long
		_ = cmd.Wait()                  // what it said says more
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.ended, s.process = ended, cmd.Process
	timer := time.NewTimer(readyTime)
	defer timer.Stop()
	select {
	case s.profile = <-ready:
		if err = s.listens(listen); err == nil {
			return nil
		}
	case <-ended:
		return said.why()
	case <-timer.C:
		err = fmt.Errorf("it was not ready after %s", readyTime)
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.close()
	return err
}

// listens remembers the address.
func (s *Server) listens(at string) error {
	s.look.Lock()
	defer s.look.Unlock()
	if at == s.listen {
		return nil
	}
	s.listen = at
	return os.WriteFile(s.listenFile(), []byte(at+"\n"), 0o600)
}

// free is an address that nobody uses at the moment: that of the last time, if it can be; a server of the person's own
// may have the usual one.
func free(last string) (string, error) {
	if last != "" {
		if c, err := net.ListenPacket("udp", last); err == nil {
			return last, c.Close()
		}
	}
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer c.Close()
	return c.LocalAddr().String(), nil
}

// Close ends the server and waits until it has. It may be called when none runs.
func (s *Server) Close() {
	s.turn.Lock()
	defer s.turn.Unlock()
	s.close()
}

func (s *Server) close() {
	if !s.running() {
		return
	}
	_ = end(s.process)
	select {
	case <-s.ended:
	case <-time.After(endTime):
		_ = s.process.Kill()
		<-s.ended
	}
}

// tail keeps the end of what is written. Safe for concurrent use.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	t.text = t.text[max(0, len(t.text)-maxSaid):]
	return len(b), nil
}

// why is the last line that is no hint.
func (t *tail) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, line := range slices.Backward(strings.Split(string(t.text), "\n")) {
		if line = strings.TrimPrefix(line, "adit-endpoint: "); line != "" && !strings.HasPrefix(line, "hint: ") {
			return errors.New(line)
		}
	}
	return errors.New("it ended without a word")
}
