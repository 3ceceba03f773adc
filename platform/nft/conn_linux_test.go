package nft

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// open opens a Conn in a network namespace of the test's own, and returns what lists its rules by nft.
func open(t *testing.T) (c *Conn, rules func() string) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // and never given back: the namespace ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, func() string {
		t.Helper()
		text, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, text)
		}
		return string(text)
	}
}

// write writes a table with n rules by begin.
func write(begin func(*nftables.Conn, string) *nftables.Table, name string, n int) func(*nftables.Conn) error {
	return func(tx *nftables.Conn) error {
		table := begin(tx, name)
		add := Chain(tx, table, "out", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter)
		matches, err := Among(tx, table, []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24")}, true)
		if err != nil {
			return err
		}
		to := matches[0].Exprs // a set, which is one rule's
		for i := range n {
			add(to, Port(unix.IPPROTO_UDP, uint16(i+1), false), Verdict(expr.VerdictDrop))
			to = To(netip.MustParseAddr("192.0.2.7"))
		}
		return nil
	}
}

// TestTransact: a transaction is carried out whole or not at all, its first error is the kernel's, and the next one starts afresh.
func TestTransact(t *testing.T) {
	c, rules := open(t)
	const many = 4000
	for _, n := range []int{1, 20, many} {
		if err := c.Transact(write(Replace, "a", n)); err != nil {
			t.Fatalf("%d rules: %v", n, err)
		}
		if text := rules(); strings.Count(text, "drop") != n || !strings.Contains(text, "198.51.100.0") {
			t.Fatalf("%d rules are wanted, these are there:\n%.2000s", n, text)
		}
	}
	before := rules()
	fail := errors.New("no")
	none := &nftables.Table{Family: nftables.TableFamilyINet, Name: "none"}
	for name, x := range map[string]struct {
		write func(*nftables.Conn) error
		want  error
	}{
		"the first message":  {write(Create, "a", many), unix.EEXIST},
		"the last message":   {func(tx *nftables.Conn) error { Create(tx, "b"); tx.DelTable(none); return nil }, unix.ENOENT},
		"all messages":       {func(tx *nftables.Conn) error { tx.DelTable(none); tx.DelTable(none); return nil }, unix.ENOENT},
		"two kinds":          {func(tx *nftables.Conn) error { tx.DelTable(none); Create(tx, "a"); return nil }, unix.ENOENT},
		"who writes it":      {func(tx *nftables.Conn) error { remove(tx, "a"); return fail }, fail},
		"nothing is written": {func(*nftables.Conn) error { return nil }, nil},
	} {
		if err := c.Transact(x.write); !errors.Is(err, x.want) {
			t.Errorf("%s: %v instead of %v", name, err, x.want)
		}
		if rules() != before {
			t.Fatalf("%s: the failed transaction has changed the rules", name)
		}
		if err := c.Transact(write(Create, "c", 1)); err != nil {
			t.Errorf("%s: the transaction after it: %v", name, err)
		}
		if err := c.Delete("c"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	names, err := c.Tables()
	if err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("the tables are %v: %v", names, err)
	}
	for range 2 { // also where it is not there
		if err := Delete("a"); err != nil {
			t.Error(err)
		}
	}
	if there, err := Exists("a"); there || err != nil {
		t.Errorf("the table is there: %t, %v", there, err)
	}
}

// TestTransactNotPermitted: the one answer to the whole batch is an error, and not waited beyond.
func TestTransactNotPermitted(t *testing.T) {
	c, _ := open(t)
	var now [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &now[0]); err != nil {
		t.Fatal(err)
	}
	less := now
	less[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &less[0]); err != nil { // of this thread alone, which ends with the test
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Transact(write(Replace, "a", 3)); !errors.Is(err, unix.EPERM) {
			t.Error(fmt.Errorf("without a right: %w", err))
		}
	}
}
