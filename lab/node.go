//go:build linux

// Package lab builds small networks out of Linux namespaces, by netlink alone,
// and runs programs in them: the shipped binaries, real openvpn, whatever a story
// needs. Nothing is named and nothing is mounted where others see it, so all of
// it is gone when the process is, even after kill -9. It needs root.
//
// Each Node has one thread of its own that lives in its namespaces; everything
// that must happen inside is sent there. Net.Close waits for all of them.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Node is one host: its own network, its own /etc and /run. Safe for concurrent use.
type Node struct {
	Name string
	// Dir is the node's scratch directory on the real file system.
	Dir string

	work  chan func()
	done  chan struct{}
	mu    sync.Mutex
	procs []*Proc
}

func newNode(name, dir string) (*Node, error) {
	n := &Node{Name: name, Dir: dir, work: make(chan func()), done: make(chan struct{})}
	ready := make(chan error)
	go n.thread(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return n, nil
}

// thread is the node's life: it never gives its thread back, so that the
// runtime destroys it, and with it the last hold on the namespaces.
func (n *Node) thread(ready chan<- error) {
	defer close(n.done)
	runtime.LockOSThread()
	if err := n.enter(); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for f := range n.work {
		f()
	}
}

func (n *Node) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return fmt.Errorf("new namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	// A private tmpfs holds the overlay of /etc; /run is empty.
	if err := unix.Mount("tmpfs", "/run", "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("private /run: %w", err)
	}
	for _, d := range []string{"/run/etc-upper", "/run/etc-work"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir=/run/etc-upper,workdir=/run/etc-work"); err != nil {
		return fmt.Errorf("private /etc: %w", err)
	}
	os.Remove("/etc/resolv.conf")
	if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 192.0.2.53\n"), 0o644); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Do runs f on the node's thread: sockets, netlink and files in it are the node's.
func (n *Node) Do(f func() error) error {
	errc := make(chan error, 1)
	n.work <- func() { errc <- f() }
	return <-errc
}

// Proc is a program that runs in a node.
type Proc struct {
	Cmd  *exec.Cmd
	Out  *Output
	done chan struct{}
	err  error
}

// Output collects what a program prints. Safe for concurrent use.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Start runs a program in the node. It is killed with the node, or when this
// process dies.
func (n *Node) Start(argv ...string) (*Proc, error) {
	p := &Proc{Cmd: exec.Command(argv[0], argv[1:]...), Out: &Output{}, done: make(chan struct{})}
	p.Cmd.Stdout, p.Cmd.Stderr = p.Out, p.Out
	p.Cmd.Dir = n.Dir
	p.Cmd.WaitDelay = time.Second
	p.Cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+n.Dir)
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := n.Do(p.Cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", n.Name, err)
	}
	go func() {
		p.err = p.Cmd.Wait()
		close(p.done)
	}()
	n.mu.Lock()
	n.procs = append(n.procs, p)
	n.mu.Unlock()
	return p, nil
}

// Run runs a program to its end and returns what it printed.
func (n *Node) Run(ctx context.Context, argv ...string) (string, error) {
	p, err := n.Start(argv...)
	if err != nil {
		return "", err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Stop(syscall.SIGKILL, time.Second)
		return p.Out.String(), fmt.Errorf("%s: %s: %w", n.Name, strings.Join(argv, " "), ctx.Err())
	}
	if p.err != nil {
		return p.Out.String(), fmt.Errorf("%s: %s: %w: %s", n.Name, strings.Join(argv, " "), p.err, strings.TrimSpace(p.Out.String()))
	}
	return p.Out.String(), nil
}

// Done is closed when the program has ended.
func (p *Proc) Done() <-chan struct{} { return p.done }

// Err is why it ended; only after Done.
func (p *Proc) Err() error { return p.err }

// Stop sends sig and waits; after wait it kills. It returns the exit error.
func (p *Proc) Stop(sig os.Signal, wait time.Duration) error {
	p.Cmd.Process.Signal(sig)
	select {
	case <-p.done:
		return p.err
	case <-time.After(wait):
	}
	p.Cmd.Process.Kill()
	<-p.done
	return fmt.Errorf("%s did not stop within %v: killed", filepath.Base(p.Cmd.Path), wait)
}

// WaitFor waits until the program has printed text.
func (p *Proc) WaitFor(text string, wait time.Duration) error {
	deadline := time.Now().Add(wait)
	for {
		if strings.Contains(p.Out.String(), text) {
			return nil
		}
		select {
		case <-p.done:
			if strings.Contains(p.Out.String(), text) {
				return nil
			}
			return fmt.Errorf("%s ended (%v) without %q:\n%s", filepath.Base(p.Cmd.Path), p.err, text, p.Out)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s did not print %q within %v:\n%s", filepath.Base(p.Cmd.Path), text, wait, p.Out)
		}
	}
}

// Listen opens a listener inside the node.
func (n *Node) Listen(network, addr string) (l net.Listener, err error) {
	err = n.Do(func() error { l, err = net.Listen(network, addr); return err })
	return l, err
}

// ListenPacket opens a datagram socket inside the node.
func (n *Node) ListenPacket(network, addr string) (c net.PacketConn, err error) {
	err = n.Do(func() error { c, err = net.ListenPacket(network, addr); return err })
	return c, err
}

// Dial connects from inside the node; addr must be a literal address, because a
// name would be resolved on other threads.
func (n *Node) Dial(network, addr string, timeout time.Duration) (c net.Conn, err error) {
	err = n.Do(func() error { c, err = net.DialTimeout(network, addr, timeout); return err })
	return c, err
}

// close ends the node's programs and its thread.
func (n *Node) close() {
	n.mu.Lock()
	procs := n.procs
	n.mu.Unlock()
	for _, p := range procs {
		select {
		case <-p.done:
		default:
			p.Stop(syscall.SIGKILL, time.Second)
		}
	}
	close(n.work)
	<-n.done
}

// ErrRoot says that namespaces need root.
var ErrRoot = errors.New("network namespaces need root")
