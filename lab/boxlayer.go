//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/lock"
)

// installLayer installs packages into a tree that lies over another, in namespaces of its own: $1 below, $2 the directory of the
// layer, then the packages. Nothing starts, as no systemd runs there.
const installLayer = `set -e
below=$1 dir=$2; shift 2
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay overlay -o "lowerdir=$below,upperdir=$dir/upper,workdir=$dir/work" "$dir/root"
mount -t proc proc "$dir/root/proc"
mount --rbind /dev "$dir/root/dev"
cp /etc/resolv.conf "$dir/root/etc/resolv.conf"
chroot "$dir/root" sh -c 'export DEBIAN_FRONTEND=noninteractive && apt-get -q update && apt-get -q install -y --no-install-recommends "$@" && apt-get clean && rm -r /var/lib/apt/lists' sh "$@"`

// boxLayer is what packages of Debian, and what they need, add to the tree of all boxes; it lies beside that in the cache.
func boxLayer(ctx context.Context, tree string, packages []string) (string, error) {
	packages = slices.Sorted(slices.Values(packages))
	sum := sha256.Sum256([]byte(tree + strings.Join(packages, ",")))
	layer := tree + "-" + hex.EncodeToString(sum[:6])
	held, err := lock.Wait(layer + ".lock")
	if err != nil {
		return "", err
	}
	defer held.Close()
	if _, err := os.Stat(layer); err == nil {
		return layer, nil
	}
	making, err := os.MkdirTemp(filepath.Dir(tree), "making-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(making)
	cmd := exec.CommandContext(ctx, "unshare", slices.Concat([]string{"--mount", "--pid", "--fork", "--kill-child", "sh", "-c", installLayer, "sh", tree, making}, packages)...)
	cmd.Env = append(os.Environ(), "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8")
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("install %s into a box: %w: %s", strings.Join(packages, ", "), err, out)
	}
	return layer, os.Rename(filepath.Join(making, "upper"), layer)
}
