//go:build linux

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
)

// attackerSocket makes this test's program an attacker of the service that listens there.
const attackerSocket = "ADIT_LAB_ATTACKS"

// TestAttacker is not a test of its own: TestDoor runs it as another user.
func TestAttacker(t *testing.T) {
	socket := os.Getenv(attackerSocket)
	if socket == "" {
		return // nothing to attack
	}
	if os.Getuid() == 0 {
		t.Fatal("the attacker is root")
	}
	dial := func() net.Conn {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return nil // it is refused for now
		}
		return c
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}}}
	ask := func(method, path string, body io.Reader) (int, string) {
		req, err := http.NewRequest(method, "http://adit"+path, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			return 0, err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		return resp.StatusCode, string(b)
	}

	// What others have is neither seen nor touched, by any name.
	names := []string{"lab", "LAB", "../0/profile-lab", "../../etc/shadow", "lab\x00", "/etc/shadow", strings.Repeat("a", 5000), ".", ""}
	for _, name := range names {
		for _, path := range []string{"/v1/profile?name=", "/v1/export?name=", "/v1/settings?name="} {
			if code, text := ask("GET", path+url.QueryEscape(name), nil); code == http.StatusOK {
				t.Errorf("GET %s%q: %s", path, name, text)
			}
		}
		for path, fields := range map[string]map[string]any{
			"/v1/connect": {"profile": name}, "/v1/disconnect": {"name": name}, "/v1/remove": {"name": name},
			"/v1/rename": {"name": name, "to": "mine"}, "/v1/set": {"name": name, "changes": []string{"guard=off"}},
			"/v1/answer": {"profile": name, "id": "x", "cancel": true},
			"/v1/import": {"name": name, "text": "client\nremote 192.0.2.1\nca /etc/shadow\n", "replace": true},
		} {
			b, err := json.Marshal(fields)
			if err != nil {
				t.Fatal(err)
			}
			if code, text := ask("POST", path, bytes.NewReader(b)); code == http.StatusOK && !(path == "/v1/disconnect" && name == "") {
				t.Errorf("POST %s %q: %s", path, name, text)
			}
		}
	}
	if code, text := ask("GET", "/v1/status", nil); code != http.StatusOK || strings.Contains(text, `"lab"`) || strings.Contains(text, "198.51.100") || strings.Contains(text, "10.64.") {
		t.Errorf("the status tells another user %d %s", code, text)
	}
	if _, text := ask("GET", "/v1/logs", nil); strings.Contains(text, "lab") {
		t.Errorf("the log tells another user %s", text)
	}

	// Requests that are too large, never end, or are none.
	for _, path := range []string{"/v1/set", "/v1/import", "/v1/answer"} {
		if code, _ := ask("POST", path, io.LimitReader(endless{}, 64<<20)); code == http.StatusOK {
			t.Errorf("%s took 64 MiB", path)
		}
	}
	if code, _ := ask("GET", "/v1/status?"+strings.Repeat("x", 1<<20), nil); code == http.StatusOK {
		t.Error("a request of 1 MiB without a body was taken")
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		if c := dial(); c != nil {
			b := make([]byte, 1+random.IntN(2000))
			for i := range b {
				b[i] = byte(random.Uint32())
			}
			_, _ = c.Write(b)
			_ = c.Close()
		}
	}

	// More connections than the service lets one user have, some of them with half a request, and 10,000 that come and go.
	var idle []net.Conn
	for i := range 300 {
		if c := dial(); c != nil {
			if i%2 == 0 {
				_, _ = c.Write([]byte("POST /v1/set HTTP/1.1\r\nHost: adit\r\nContent-Length: 60000\r\n\r\n{"))
			}
			idle = append(idle, c)
		}
	}
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			for range 1000 {
				if c := dial(); c != nil {
					_, _ = c.Write([]byte("GET /v1/status HTTP/1.1\r\nHost: adit\r\n\r\n"))
					_ = c.Close()
				}
			}
		})
	}
	wait.Wait()
	for _, c := range idle {
		_ = c.Close()
	}
}

// endless is a JSON text without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = '['
	}
	return len(b), nil
}

// TestDoor: another local user does to the service's socket what comes to mind. Nothing changes, nobody is kept waiting,
// and what it cost is given back.
func TestDoor(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv", "nft")
	g := fullGuarded(t)
	s, l := g.site, g.l
	g.serve("lab")
	s.adit("connect", "lab", "--timeout", "20s")
	l.forget()
	system, state := s.system(), s.stateFiles()
	memory := s.memory(g.service.Cmd.Process.Pid, "VmRSS")
	handles := s.handles(g.service)
	for _, line := range []string{"CapEff:\t0000000000003403\n", "CapPrm:\t0000000000003403\n", "CapBnd:\t00000000000034eb\n"} { // what confine leaves it
		if got := s.read(fmt.Sprintf("/proc/%d/status", g.service.Cmd.Process.Pid)); !strings.Contains(got, line) {
			t.Errorf("the service has other rights than %q:\n%s", line, got)
		}
	}
	program, err := os.Executable()
	s.ok(err)
	// The lab's directories are root's: the attacker gets the program where it can read it.
	dir, err := os.MkdirTemp("", "adit-lab-")
	s.ok(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	s.ok(os.Chmod(dir, 0o777))
	copied := filepath.Join(dir, "attacker")
	b, err := os.ReadFile(program)
	s.ok(err)
	s.ok(os.WriteFile(copied, b, 0o755))
	attack := s.start(s.client, "attacker", "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
		"env", attackerSocket+"="+aditService, "HOME=/", "TMPDIR="+dir, copied, "-test.run=^TestAttacker$", "-test.timeout=3m")

	// Meanwhile root asks, twenty times a second, each time by a connection of its own.
	root := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (c net.Conn, err error) {
			err = s.client.Do(func() error { c, err = ipc.Dial(ctx, aditService); return err })
			return c, err
		}}}
	var took []time.Duration
	for over := false; !over; time.Sleep(50 * time.Millisecond) {
		select {
		case <-attack.Done():
			over = true
		default:
		}
		begin := time.Now()
		resp, err := root.Get("http://adit/v1/status")
		s.ok(err)
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		s.ok(err)
		took = append(took, time.Since(begin))
	}
	if err := attack.Err(); err != nil {
		t.Errorf("the attack ended with %v:\n%s", err, tail(attack.Out.String(), 4000))
	}
	slices.Sort(took)
	t.Logf("%d requests beside the attack: median %v, the slowest %v", len(took), took[len(took)/2], took[len(took)-1])
	if len(took) < 5 || took[len(took)/2] > 100*time.Millisecond {
		t.Errorf("beside the attack a request took %v (median of %d)", took[len(took)/2], len(took))
	}
	s.same("after the attack", system, s.system())
	if now := s.stateFiles(); now != state {
		t.Errorf("the state has changed:\nbefore %s\nafter %s", state, now)
	}
	if c := s.statusOf("lab"); c.State != api.Connected {
		t.Errorf("the tunnel is %s", c.State)
	}
	l.none("during the attack")
	s.until(soon, "the service has given back what the attack cost", func() bool { return s.handles(g.service) <= handles+2 })
	if now := s.memory(g.service.Cmd.Process.Pid, "VmRSS"); now > memory+48<<20 {
		t.Errorf("the service has %d bytes, before %d", now, memory)
	}
	s.adit("disconnect", "lab")
}

// handles counts the open files of a process.
func (s *site) handles(p *Proc) int {
	s.t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Cmd.Process.Pid))
	s.ok(err)
	return len(entries)
}

// stateFiles is what is in the service's state directory.
func (s *site) stateFiles() string {
	s.t.Helper()
	var out []string
	s.ok(filepath.WalkDir(s.stateDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out = append(out, fmt.Sprintf("%s %x", strings.TrimPrefix(path, s.stateDir()), sha256.Sum256(b)))
		return err
	}))
	return strings.Join(out, "\n")
}
