package model

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The environment of the process that is killed: its directory, and the step with which it begins.
const (
	childDir  = "ADIT_MODEL_CHILD_DIR"
	childStep = "ADIT_MODEL_CHILD_STEP"
)

// step is one request of the script. What it needs it finds by the descriptions of endpoints; cycle makes client tokens new.
type step func(m *Model, cycle int) error

// script goes from nothing to nothing. Each step changes what dump shows.
func script(list string) []step {
	ctx := context.Background()
	id := func(m *Model, name string) string {
		for _, e := range m.Endpoints() {
			if e.Description == name {
				return e.ID
			}
		}
		return "cvpn-endpoint-" + name
	}
	create := func(name string) step {
		return func(m *Model, cycle int) error {
			n := mutual()
			n.Description, n.Tags = &name, []Tag{{"cycle", "x"}}
			_, err := m.CreateEndpoint(ctx, Call{ClientToken: fmt.Sprint(name, cycle)}, n)
			return err
		}
	}
	associate := func(name, subnet string) step {
		return func(m *Model, cycle int) error {
			_, err := m.Associate(ctx, Call{ClientToken: fmt.Sprint(name, subnet, cycle)}, id(m, name), subnet)
			return err
		}
	}
	disassociate := func(name, subnet string) step {
		return func(m *Model, _ int) error {
			list, err := m.Associations(id(m, name))
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(a Association) bool { return a.Subnet == subnet })
			if i < 0 {
				return fmt.Errorf("%s is not associated", subnet)
			}
			_, err = m.Disassociate(ctx, Call{}, id(m, name), list[i].ID)
			return err
		}
	}
	authorize := func(name string, in Ingress) step {
		return func(m *Model, _ int) error { _, err := m.AuthorizeIngress(ctx, Call{}, id(m, name), in); return err }
	}
	remove := func(name string) step {
		return func(m *Model, _ int) error { _, err := m.DeleteEndpoint(ctx, Call{}, id(m, name)); return err }
	}
	return []step{
		create("a"), associate("a", "subnet-0a1"), create("b"), associate("a", "subnet-0a2"),
		authorize("a", Ingress{CIDR: "10.1.0.0/16", All: true, Description: "all"}),
		authorize("a", Ingress{CIDR: "10.1.0.0/24", Group: "dev"}),
		func(m *Model, _ int) error {
			_, err := m.CreateRoute(ctx, Call{}, id(m, "a"), "0.0.0.0/0", "subnet-0a1", "out")
			return err
		},
		func(m *Model, _ int) error {
			return m.SetTags(ctx, Call{}, []string{id(m, "a"), id(m, "b")}, []Tag{{"Name", "both"}})
		},
		func(m *Model, _ int) error {
			return m.ModifyEndpoint(ctx, Call{}, id(m, "a"), Changes{SplitTunnel: ptr(true), DNSServers: ptr([]string{"10.1.0.2"}), Port: ptr(1194)})
		},
		func(m *Model, _ int) error { return m.ImportCRL(ctx, Call{}, id(m, "a"), list) },
		func(m *Model, cycle int) error {
			_, err := m.ModifyPolicy(ctx, Call{ClientToken: fmt.Sprint("policy", cycle)}, id(m, "a"), PolicyChange{Document: ptr(permitAll), Description: ptr("all")})
			return err
		},
		func(m *Model, _ int) error {
			_, err := m.ModifyPolicy(ctx, Call{}, id(m, "a"), PolicyChange{Shadow: ptr("enabled")})
			return err
		},
		associate("b", "subnet-0b1"),
		authorize("b", Ingress{CIDR: "10.2.0.0/16", All: true}),
		func(m *Model, _ int) error { _, err := m.DeletePolicy(ctx, Call{}, id(m, "a")); return err },
		func(m *Model, _ int) error {
			_, err := m.RevokeIngress(ctx, Call{}, id(m, "a"), Ingress{CIDR: "10.1.0.0/24", Group: "dev"})
			return err
		},
		func(m *Model, _ int) error {
			_, err := m.DeleteRoute(ctx, Call{}, id(m, "a"), "0.0.0.0/0", "subnet-0a1")
			return err
		},
		func(m *Model, _ int) error {
			return m.DeleteTags(ctx, Call{}, []string{id(m, "a")}, []TagMatch{{Key: "Name"}})
		},
		disassociate("a", "subnet-0a1"), disassociate("a", "subnet-0a2"), remove("a"), disassociate("b", "subnet-0b1"), remove("b"),
	}
}

// dump is the whole state without ids and times: what people see, what runs, and which files there are for it.
func dump(m *Model, f *fleet, dir string) string {
	var b strings.Builder
	for _, e := range m.Endpoints() {
		fmt.Fprintf(&b, "%s %s %v %v %d %v %v %v %v\n", e.Description, e.Status.Code, e.SplitTunnel, e.DNSServers, e.Port, e.Listen, e.VPC, e.SecurityGroups, e.Tags)
		as, _ := m.Associations(e.ID)
		for _, a := range as {
			fmt.Fprintf(&b, "  %s %s\n", a.Subnet, a.Status.Code)
		}
		rules, _ := m.Rules(e.ID)
		for _, r := range rules {
			fmt.Fprintf(&b, "  rule %s %v %s %s\n", r.CIDR, r.All, r.Group, r.Description)
		}
		routes, _ := m.Routes(e.ID)
		for _, r := range routes {
			fmt.Fprintf(&b, "  route %s %s %s\n", r.Destination, r.Target, r.Origin)
		}
		list, _, err := m.CRL(e.ID)
		fmt.Fprintf(&b, "  list %d %v\n", len(list), err)
		policy, _ := m.Policy(e.ID)
		fmt.Fprintf(&b, "  policy %q %q %v %s\n", policy.Document, policy.Description, policy.Shadow, policy.Status.Code)
		cfg, runs := f.running[e.ID]
		fmt.Fprintf(&b, "  runs %v: %d %d %d %v %+v\n", runs, len(cfg.Associations), len(cfg.Rules), len(cfg.Routes), cfg.SplitTunnel, cfg.AuthorizationPolicy)
		if mutual, _, _ := cfg.Methods(); mutual != nil && mutual.CRL != "" {
			text, err := os.ReadFile(mutual.CRL)
			fmt.Fprintf(&b, "  list in force %v %v\n", string(text) == list, err)
		}
	}
	fmt.Fprintf(&b, "%d run\n", len(f.running))
	return b.String()
}

func openKilled(t *testing.T, dir string) (*Model, *fleet) {
	t.Helper()
	f := &fleet{}
	m, err := Open(filepath.Join(dir, "api.db"), declared(t, dir, ""), f, Options{Now: time.Now, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	return m, f
}

// TestKilledChild is the process that TestKill kills: it goes through the script until then, and says what has been acknowledged.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return // it is the child of TestKill only
	}
	from, err := strconv.Atoi(os.Getenv(childStep))
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "list.pem"))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := openKilled(t, dir)
	steps := script(string(list))
	fmt.Printf("child ready\n")
	for i := from; ; i++ {
		if err := steps[i%len(steps)](m, i/len(steps)); err != nil {
			fmt.Printf("child failed at %d: %v\n", i, err)
			return
		}
		fmt.Printf("child acknowledged %d\n", i)
	}
}

// TestKill kills a process that changes the state, again and again at random points (20 times, or ADIT_KILLS): what it has
// acknowledged is there afterwards, and of the request that was under way all or nothing.
func TestKill(t *testing.T) {
	kills := 20
	if text := os.Getenv("ADIT_KILLS"); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatalf("ADIT_KILLS is %q", text)
		}
	}
	ca := newAuthority(t)
	list := ca.list(t)
	steps := script(list)
	// What the state must be after each step, from a run that nobody kills.
	var want []string
	calm := t.TempDir()
	ca.in(t, calm)
	m, f := openKilled(t, calm)
	want = append(want, dump(m, f, calm))
	for i, s := range steps {
		if err := s(m, 0); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		want = append(want, dump(m, f, calm))
		if want[i] == want[i+1] {
			t.Fatalf("step %d changes nothing in sight", i)
		}
	}
	if want[0] != want[len(steps)] {
		t.Fatalf("the script ends with\n%s", want[len(steps)])
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	ca.in(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "list.pem"), []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	next, whole, lost := 0, 0, 0
	for kill := range kills {
		acknowledged := runUntilKilled(t, dir, next)
		m, f := openKilled(t, dir)
		got := dump(m, f, dir)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		done := acknowledged + 1 // the step after the last acknowledged one
		switch got {
		case want[done%len(steps)]:
			next = done
			lost++
		case want[done%len(steps)+1]:
			next = done + 1
			whole++
		default:
			t.Fatalf("kill %d: step %d was acknowledged, and the state is\n%snot\n%snor\n%s", kill, acknowledged, got, want[done%len(steps)], want[done%len(steps)+1])
		}
	}
	t.Logf("%d steps in %d lives; the one under way was lost %d times, and made %d times", next, kills, lost, whole)
	if next == 0 {
		t.Error("no step was ever acknowledged")
	}
}

// runUntilKilled runs the child from a step on, kills it at a random time, and returns the last step that it acknowledged.
func runUntilKilled(t *testing.T, dir string, from int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childStep+"="+strconv.Itoa(from))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	last := from - 1
	killer := make(chan struct{})
	lines := bufio.NewScanner(out)
	begun := false
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == "child ready":
			begun = true
			go func() {
				defer close(killer)
				time.Sleep(time.Duration(mathrand.Int64N(int64(80 * time.Millisecond))))
				cmd.Process.Kill() // SIGKILL
			}()
		case strings.HasPrefix(line, "child failed"):
			t.Error(line)
		default:
			if n, ok := strings.CutPrefix(line, "child acknowledged "); ok {
				if last, err = strconv.Atoi(n); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if !begun {
		cmd.Wait()
		t.Fatal("the child did not begin")
	}
	<-killer
	cmd.Wait() // it says that it was killed
	return last
}

// authority is a CA that signs revocation lists.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCRLSign | x509.KeyUsageCertSign, SubjectKeyId: []byte{1}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return authority{ca, key}
}

// in writes it to where the file of the tests has it.
func (a authority) in(t *testing.T, dir string) {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// list is a revocation list of its own.
func (a authority) list(t *testing.T) string {
	t.Helper()
	now := time.Now()
	number, err := rand.Int(rand.Reader, big.NewInt(1<<32))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: number, ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}
