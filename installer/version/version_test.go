package version

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/installer/toolstest"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ in, text, linux, three string }{
		{"1.2.3", "1.2.3", "1.2.3", "1.2.3"},
		{"v1.2.3", "1.2.3", "1.2.3", "1.2.3"},
		{"v1.2.3-rc.1", "1.2.3-rc.1", "1.2.3~rc.1", "1.2.3"},
		{"v1.2.3-4-gabc1234", "1.2.3-4-gabc1234", "1.2.3+4.gabc1234", "1.2.3"},
		{"v1.2.3-rc.1-4-gabc1234", "1.2.3-rc.1-4-gabc1234", "1.2.3~rc.1+4.gabc1234", "1.2.3"},
		{"v1.2.3-4-gabc1234-dirty", "1.2.3-4-gabc1234-dirty", "1.2.3+4.gabc1234.dirty", "1.2.3"},
		{"v1.2.3-dirty", "1.2.3-dirty", "1.2.3+0.dirty", "1.2.3"},
		{"0.0.0-2345-g77ab98a", "0.0.0-2345-g77ab98a", "0.0.0+2345.g77ab98a", "0.0.0"},
		{"77ab98a", "0.0.0-0-g77ab98a", "0.0.0+0.g77ab98a", "0.0.0"},
		{"77ab98a-dirty", "0.0.0-0-g77ab98a-dirty", "0.0.0+0.g77ab98a.dirty", "0.0.0"},
		{"1234567", "0.0.0-0-g1234567", "0.0.0+0.g1234567", "0.0.0"},
		{"dev", "0.0.0-dirty", "0.0.0+0.dirty", "0.0.0"},
		{"devel", "0.0.0-dirty", "0.0.0+0.dirty", "0.0.0"},
		{"255.255.65535", "255.255.65535", "255.255.65535", "255.255.65535"},
	} {
		v, err := Parse(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		for what, got := range map[string][2]string{
			"String": {v.String(), tt.text}, "Deb": {v.Deb(), tt.linux}, "RPM": {v.RPM(), tt.linux}, "MSI": {v.MSI(), tt.three}, "Pkg": {v.Pkg(), tt.three},
		} {
			if got[0] != got[1] {
				t.Errorf("%s: %s is %s, want %s", tt.in, what, got[0], got[1])
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, in := range []string{
		"", "v", "1", "1.2", "1.2.3.4", "256.0.0", "1.256.0", "1.2.65536", "1.2.3-rc1", "1.2.3-rc", "1.2.3-RC.1", "1.2.3-rc.1.2", "1.2.3-1",
		"1.2.3+4", " 1.2.3", "1.2.3\n", "-1.2.3", "1.2.3-4-gxyz", "vv1.2.3", "99999999999999999999.0.0", strings.Repeat("1", 1000), "1.2.3-dirty-dirty",
	} {
		if v, err := Parse(in); err == nil {
			t.Errorf("%q is %v", in, v)
		} else if len(err.Error()) > 200 || strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("%q: a long error: %v", in, err)
		}
	}
}

// order is from the oldest to the newest.
var order = []string{
	"dev", "0.0.0-9-gabc1234", "0.0.0-2345-g77ab98a", "0.9.0", "1.0.0-alpha.1", "1.0.0-alpha.2", "1.0.0-alpha.10", "1.0.0-beta.1", "1.0.0-rc.1", "1.0.0-rc.1-4-gffff", "1.0.0-rc.2",
	"1.0.0", "1.0.0-4-g1234567", "1.0.0-4-g1234567-dirty", "1.0.0-11-gabcdef1", "1.0.1-rc.1", "1.0.1", "1.0.10", "1.2.0", "1.10.0", "10.0.0",
}

func TestCompare(t *testing.T) {
	for i, a := range order {
		for j, b := range order {
			if strings.Contains(a, "dirty") || strings.Contains(b, "dirty") {
				continue // as old as without
			}
			if got := sign(must(t, a).Compare(must(t, b))); got != sign(i-j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
	if must(t, "1.0.0-4-g1234567").Compare(must(t, "v1.0.0-4-gabcdef1-dirty")) != 0 {
		t.Error("a commit's name says which is older")
	}
}

// TestDpkg and TestRPM ask the programs whose opinion counts: neighbours suffice, as both orders are transitive.
func TestDpkg(t *testing.T) {
	toolstest.Needs(t, "dpkg")
	for i := range order[1:] {
		a, b := must(t, order[i]).Deb(), must(t, order[i+1]).Deb()
		if out, err := exec.Command("dpkg", "--compare-versions", a, "lt", b).CombinedOutput(); err != nil || len(out) > 0 { // it warns of bad versions
			t.Errorf("dpkg does not think that %s is older than %s: %v %s", a, b, err, out)
		}
	}
}

func TestRPM(t *testing.T) {
	toolstest.Needs(t, "rpm")
	script := strings.Builder{}
	for i := range order[1:] {
		fmt.Fprintf(&script, "io.write(rpm.vercmp(%q, %q), ' ')", must(t, order[i]).RPM(), must(t, order[i+1]).RPM())
	}
	out, err := exec.Command("rpm", "--eval", "%{lua:"+script.String()+"}").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	answers := strings.Fields(string(out))
	if len(answers) != len(order)-1 {
		t.Fatalf("%d answers: %s", len(answers), out)
	}
	for i, a := range answers {
		if a != "-1" {
			t.Errorf("rpm does not think that %s is older than %s: %s", must(t, order[i]).RPM(), must(t, order[i+1]).RPM(), a)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range order {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(v.String())
		if err != nil || again.Compare(v) != 0 || again.Deb() != v.Deb() {
			t.Fatalf("%q became %v, and that %v, %v", s, v, again, err)
		}
	})
}

func must(t *testing.T, s string) Version {
	t.Helper()
	v, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func sign(n int) int { return min(max(n, -1), 1) }
