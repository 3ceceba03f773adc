// Command demo shows a tunnel end to end with the built binaries: first in user
// space, without root, then (as root on Linux) with kernel devices in network
// namespaces of its own. It leaves nothing behind. `make demo` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	bin := flag.String("bin", "bin", "directory of the built binaries")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bin); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	fmt.Println("\nall stopped, nothing left behind")
}

func run(ctx context.Context, bin string) error {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "adit-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	title("In user space: no root, no device, no route of this machine is touched")
	if err := userspace(ctx, bin, dir); err != nil {
		return err
	}
	return kernel(ctx, bin, dir)
}

func title(s string) { fmt.Printf("\n=== %s\n", s) }

// shown prints a command line as a person would type it.
func shown(argv []string) string {
	words := append([]string{filepath.Base(argv[0])}, argv[1:]...)
	return "$ " + strings.Join(words, " ")
}

// program is a child that runs until it is told to stop.
type program struct {
	cmd  *exec.Cmd
	out  *output
	done chan struct{}
	err  error
}

// output echoes what a program prints, indented, and remembers it.
type output struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	for line := range strings.Lines(string(b)) {
		fmt.Print("  | ", strings.TrimRight(line, "\n"), "\n")
	}
	return len(b), nil
}

func (o *output) find(re *regexp.Regexp) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return re.FindStringSubmatch(o.buf.String())
}

func start(argv ...string) (*program, error) {
	fmt.Println(shown(argv))
	p := &program{cmd: exec.Command(argv[0], argv[1:]...), out: &output{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	return p, nil
}

// await waits until the program has printed what re matches.
func (p *program) await(ctx context.Context, re *regexp.Regexp) ([]string, error) {
	for {
		if m := p.out.find(re); m != nil {
			return m, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-p.done:
			return nil, fmt.Errorf("%s ended early: %v", filepath.Base(p.cmd.Path), p.err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop asks the program to end, as Ctrl-C does, and waits for it.
func (p *program) stop() error {
	p.cmd.Process.Signal(os.Interrupt)
	select {
	case <-p.done:
		return p.err
	case <-time.After(10 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not stop within 10 s", filepath.Base(p.cmd.Path))
	}
}

// show runs a command to its end and prints what it says.
func show(ctx context.Context, argv ...string) error {
	fmt.Println(shown(argv))
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	out := &output{}
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// userspace connects the client's own IP stack with the endpoint's.
func userspace(ctx context.Context, bin, dir string) (err error) {
	port, err := freePort()
	if err != nil {
		return err
	}
	data, socket := filepath.Join(dir, "endpoint"), filepath.Join(dir, "adit.sock")
	adit, endpoint := filepath.Join(bin, "adit"), filepath.Join(bin, "adit-endpoint")

	server, err := start(endpoint, "up", "--data", data, "--listen", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	profile, err := server.await(ctx, regexp.MustCompile(`(?m)^profile: (.+)$`))
	if err != nil {
		return err
	}

	client, err := start(adit, "connect", profile[1], "--userspace", "--forward", "127.0.0.1:0=10.98.0.1:80", "--socket", socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	forward, err := client.await(ctx, regexp.MustCompile(`(?s)forward\s+(\S+) to .*ready`))
	if err != nil {
		return err
	}

	fmt.Println("$ curl http://" + forward[1] + "/   (10.98.0.1 through the tunnel)")
	page, err := fetch(ctx, &http.Client{Timeout: 10 * time.Second}, "http://"+forward[1]+"/")
	if err != nil {
		return err
	}
	fmt.Fprintln(&output{}, page)
	for _, args := range [][]string{{"status"}, {"routes"}, {"explain", "10.98.0.1"}, {"explain", "192.0.2.1"}} {
		if err := show(ctx, append([]string{adit, "--socket", socket}, args...)...); err != nil {
			return err
		}
	}
	return show(ctx, endpoint, "connections", "--data", data)
}

func fetch(ctx context.Context, c *http.Client, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return strings.TrimSpace(string(b)), err
}

// freePort finds a UDP port that nobody uses at the moment.
func freePort() (int, error) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}
