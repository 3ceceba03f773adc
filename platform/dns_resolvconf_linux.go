package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// resolvconfKey is our entry in resolvconf's database, one for all tunnels; "tun" puts it before the uplink's there
// (interface-order(5), resolvconf.conf(5)).
const resolvconfKey = "tun0.adit"

// resolvconfTime bounds one run: Debian's waits up to ten seconds for its own lock.
const resolvconfTime = 15 * time.Second

// resolvconf is Debian's resolvconf, or openresolv: programs that keep resolv.conf out of a database of interfaces.
type resolvconf struct{ log *slog.Logger }

func (*resolvconf) prepare(context.Context, *dnsState) error { return nil }

func (*resolvconf) enforce(ctx context.Context, s *dnsState) error {
	d, _ := s.plain()
	args := []string{"-a", resolvconfKey}
	if len(d.Servers) > 0 {
		// openresolv: first, and without the servers of others. Debian's looks at the first two arguments only.
		args = append(args, "-m", "0", "-x")
	}
	_, err := runResolvconf(ctx, s.Program, resolvConfText(d, nil), args...)
	return err
}

// inForce believes the file that programs read. Where that names a local cache instead, the database is asked.
func (*resolvconf) inForce(ctx context.Context, s *dnsState) bool {
	d, _ := s.plain()
	text, err := os.ReadFile(filepath.Join(s.Etc, "resolv.conf"))
	if err != nil {
		return false
	}
	there := nameservers(text)
	if len(d.Servers) > 0 && len(there) > 0 && there[0] == d.Servers[0].Addr() {
		return true
	}
	_, entry, _, err := resolvconfList(ctx, s.Program)
	return err != nil || slices.Equal(strings.Fields(entry), strings.Fields(string(resolvConfText(d, nil))))
}

// outside are the servers of the database's other entries.
func (*resolvconf) outside(ctx context.Context, s *dnsState) ([]netip.Addr, error) {
	before, _, after, err := resolvconfList(ctx, s.Program)
	return nameservers([]byte(before + after)), err
}

// resolvconfList is the database, one text for each entry: those before ours, ours, and those after it.
func resolvconfList(ctx context.Context, program string) (before, ours, after string, err error) {
	const head = "# resolv.conf from "
	list, err := runResolvconf(ctx, program, nil, "-l")
	before, ours, _ = strings.Cut(string(list), head+resolvconfKey+"\n")
	if i := strings.Index(ours, head); i >= 0 {
		ours, after = ours[:i], ours[i:]
	}
	return before, ours, after, err
}

func (m *resolvconf) forget(ctx context.Context, s *dnsState, _ tunnelDNS) (bool, error) {
	if _, err := os.Stat(s.Program); errors.Is(err, fs.ErrNotExist) {
		m.log.Warn("resolvconf is gone, and with it what it was told", "program", s.Program)
		return false, nil // else no start would ever get past this entry
	}
	if len(s.Tunnels) > 0 {
		return true, m.enforce(ctx, s)
	}
	// openresolv takes an entry that is not there for an error, without -f.
	_, err := runResolvconf(ctx, s.Program, nil, "-d", resolvconfKey, "-f")
	return true, err
}

// runResolvconf runs the only program that this package runs: by absolute path,
// without environment, with values that validDNS has checked. It is not broken off with ctx, as resolv.conf
// would be left half made.
func runResolvconf(ctx context.Context, program string, stdin []byte, args ...string) ([]byte, error) {
	if !filepath.IsAbs(program) || filepath.Base(program) != "resolvconf" {
		return nil, fmt.Errorf("resolvconf path %q is not allowed", program)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolvconfTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Stdin, cmd.WaitDelay = []string{}, bytes.NewReader(stdin), time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, bytes.TrimSpace(out[:min(len(out), 500)]))
	}
	return out, nil
}
