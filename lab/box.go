//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/lock"
)

// Box is a machine that has been started: Debian's systemd is process 1 in a tree of its own, which nobody else sees and which is
// gone with its Node. Its network is the Node's, so that wires, routes, pings and captures of the Node are the machine's. Safe for
// concurrent use.
type Box struct {
	Node *Node
	// Systemd is the machine's console.
	Systemd *Proc

	root   string // of the tree, as the node sees it
	cgroup string // of all that runs in it, as the node sees it
	pid    string // of its process 1
}

// The tree of a box: what a server without a desktop has.
const (
	boxSuite    = "bookworm"
	boxPackages = "systemd,systemd-sysv,dbus,nftables,iproute2"
)

// boxBusy are units that would only keep a machine of a few seconds busy.
var boxBusy = []string{"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "getty@.service", "console-getty.service", "systemd-update-utmp.service", "systemd-networkd.service"}

// boxTree is the tree below all boxes, in the user's cache ("adit-tests"), which make clean removes: making it takes half a
// minute.
func boxTree(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	cache = filepath.Join(cache, "adit-tests")
	sum := sha256.Sum256([]byte(boxSuite + boxPackages))
	tree := filepath.Join(cache, "box-"+hex.EncodeToString(sum[:6]))
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	held, err := lock.Wait(tree + ".lock")
	if err != nil {
		return "", err
	}
	defer held.Close()
	if _, err := os.Stat(tree); err == nil {
		return tree, nil
	}
	making, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making) // nothing, once it has its final name
	if err := os.Chmod(making, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--include="+boxPackages,
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		boxSuite, making)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) } // it unmounts what it has mounted
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mmdebstrap: %w: %s", err, out)
	}
	return tree, os.Rename(making, tree)
}

// NewBox starts a machine on the node's network, and returns when systemd says that it runs. It ends with the node, or with Close.
// It has Debian's packages of these names beside those of a server.
func NewBox(ctx context.Context, n *Node, packages ...string) (*Box, error) {
	tree, err := boxTree(ctx)
	if err != nil {
		return nil, fmt.Errorf("the tree of a box: %w", err)
	}
	if len(packages) > 0 {
		layer, err := boxLayer(ctx, tree, packages)
		if err != nil {
			return nil, err
		}
		tree = layer + ":" + tree // as overlayfs names them
	}
	b := &Box{Node: n, root: filepath.Join(n.Dir, "box", "root"), cgroup: filepath.Join(n.Dir, "box", "cgroup", "adit-box-"+machineID())}
	started := false
	defer func() {
		if !started {
			b.Close()
		}
	}()
	if err := n.Do(func() error { return b.mount(tree) }); err != nil {
		return nil, err
	}
	// Into a group of processes of its own first: it becomes the root of what the machine sees.
	const start = `echo $$ >"$1/cgroup.procs" && exec unshare --fork --pid --mount --uts --ipc --cgroup --kill-child --root="$2" \
env -i container=adit PATH=/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c \
'mount -t proc proc /proc && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec /lib/systemd/systemd --system --show-status=yes'`
	if b.Systemd, err = n.Start("/bin/sh", "-c", start, "sh", b.cgroup, b.root); err != nil {
		return nil, err
	}
	if err := b.booted(ctx); err != nil {
		return nil, fmt.Errorf("the box %s does not start: %w: %s", n.Name, err, b.Systemd.Out)
	}
	started = true
	return b, nil
}

// mount makes the tree over those in the cache, on the node's thread.
func (b *Box) mount(below string) error {
	base := filepath.Dir(b.root)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", base, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("the box's memory: %w", err)
	}
	upper, work, groups := filepath.Join(base, "upper"), filepath.Join(base, "work"), filepath.Dir(b.cgroup)
	for _, d := range []string{b.root, upper, work, groups} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	under := func(path ...string) string { return filepath.Join(append([]string{b.root}, path...)...) }
	for _, m := range []struct {
		kind, at, options string
		flags             uintptr
	}{
		{"overlay", b.root, "lowerdir=" + below + ",upperdir=" + upper + ",workdir=" + work, 0},
		{"sysfs", under("sys"), "", unix.MS_RDONLY}, // so that nothing waits for udev
		{"tmpfs", under("run"), "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
		{"tmpfs", under("dev"), "mode=755", unix.MS_NOSUID},
		{"cgroup2", groups, "", 0},
	} {
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s of a box: %w", m.at, err)
		}
	}
	if err := os.Mkdir(b.cgroup, 0o755); err != nil {
		return err
	}
	for _, d := range []string{"net", "shm", "pts"} {
		if err := os.Mkdir(under("dev", d), 0o755); err != nil {
			return err
		}
	}
	for name, number := range map[string][2]uint32{
		"null": {1, 3}, "zero": {1, 5}, "full": {1, 7}, "random": {1, 8}, "urandom": {1, 9}, "tty": {5, 0}, "ptmx": {5, 2}, "net/tun": {10, 200},
	} {
		path := under("dev", name)
		if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(number[0], number[1]))); err != nil {
			return fmt.Errorf("device %s of a box: %w", name, err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			return err
		}
	}
	for _, unit := range boxBusy {
		if err := os.Symlink("/dev/null", under("etc", "systemd", "system", unit)); err != nil {
			return err
		}
	}
	resolv, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(under("etc", "resolv.conf"), resolv, 0o644), os.WriteFile(under("etc", "hostname"), []byte(b.Node.Name+"\n"), 0o644),
		os.WriteFile(under("etc", "machine-id"), []byte(machineID()+"\n"), 0o444))
}

// machineID is a new one (machine-id(5)).
func machineID() string {
	var id [16]byte
	rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// booted waits until nothing is left to start.
func (b *Box) booted(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		if b.pid == "" {
			parent := strconv.Itoa(b.Systemd.Cmd.Process.Pid)
			children, err := os.ReadFile(filepath.Join("/proc", parent, "task", parent, "children"))
			if err == nil {
				b.pid = strings.TrimSpace(string(children))
			}
		} else {
			out, err := b.Run(ctx, "systemctl", "is-system-running")
			if err == nil {
				return nil
			}
			if strings.HasPrefix(out, "degraded") {
				failed, _ := b.Run(ctx, "systemctl", "--failed", "--plain", "--no-legend")
				return fmt.Errorf("units failed: %s", failed)
			}
		}
		select {
		case <-b.Systemd.Done():
			return errors.New("systemd has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// within is argv for the node, run in the box as its root.
func (b *Box) within(argv []string) []string {
	return slices.Concat([]string{"nsenter", "--target", b.pid, "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd", "--",
		"env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8"}, argv)
}

// Start runs a program in the box, as root.
func (b *Box) Start(argv ...string) (*Proc, error) { return b.Node.Start(b.within(argv)...) }

// Run runs a program in the box to its end, as root, and returns what it printed.
func (b *Box) Run(ctx context.Context, argv ...string) (string, error) {
	return b.Node.Run(ctx, b.within(argv)...)
}

// Write makes or replaces a file in the box, with the directories above it.
func (b *Box) Write(path string, content []byte, mode fs.FileMode) error {
	return b.Node.Do(func() error {
		path, err := b.path(path)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := os.WriteFile(path, content, mode); err != nil {
			return err
		}
		return os.Chmod(path, mode)
	})
}

// Copy puts a file of this machine into the box.
func (b *Box) Copy(from, to string, mode fs.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return b.Write(to, content, mode)
}

// Read is the content of a file in the box, but below /run, /tmp and /proc, which only Run sees.
func (b *Box) Read(path string) (content []byte, err error) {
	err = b.Node.Do(func() error {
		path, err := b.path(path)
		if err == nil {
			content, err = os.ReadFile(path)
		}
		return err
	})
	return content, err
}

// path is where the node sees a path of the box. Links of the box mean its own tree: they are not followed here.
func (b *Box) path(path string) (string, error) {
	if !filepath.IsAbs(path) {
		return "", fmt.Errorf("%s is no absolute path", path)
	}
	at := b.root
	for part := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		at = filepath.Join(at, part)
		to, err := os.Readlink(at)
		if err != nil {
			continue // no link, or not there yet
		}
		if !filepath.IsAbs(to) {
			at = filepath.Join(filepath.Dir(at), to)
			continue
		}
		at = filepath.Join(b.root, to)
	}
	return at, nil
}

// Close ends all that runs in the box, and removes what of it is outside the node.
func (b *Box) Close() {
	if b.Systemd != nil {
		b.Systemd.Stop(unix.SIGKILL, time.Second) // the error is that it was killed
	}
	deadline := time.Now().Add(5 * time.Second)
	_ = b.Node.Do(func() error {
		for b.removeGroups() != nil && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond) // the last processes are just ending
		}
		return unix.Unmount(filepath.Dir(b.root), unix.MNT_DETACH)
	})
}

// removeGroups removes the groups of processes, innermost first.
func (b *Box) removeGroups() error {
	var groups []string
	err := filepath.WalkDir(b.cgroup, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // systemd has removed it, or Close was here before
		}
		if err == nil && d.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	slices.Reverse(groups)
	for _, g := range groups {
		if e := os.Remove(g); err == nil {
			err = e
		}
	}
	return err
}
