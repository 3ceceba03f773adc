package mdm

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client"
)

var update = flag.Bool("update", false, "write the table of docs/policy.md anew, to be read before it is committed")

// TestDocs: the keys in docs/policy.md are the schema's.
func TestDocs(t *testing.T) {
	const path = "../../docs/policy.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	from := slices.Index(lines, "| key | type, default | meaning |\n")
	if from < 0 {
		t.Fatal("docs/policy.md has no table of keys")
	}
	to := from
	for to < len(lines) && strings.HasPrefix(lines[to], "|") {
		to++
	}
	if got := strings.Join(lines[from:to], ""); got != keysTable() {
		if *update {
			if err := os.WriteFile(path, []byte(strings.Join(lines[:from], "")+keysTable()+strings.Join(lines[to:], "")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Errorf("the table of docs/policy.md differs (go test ./installer/mdm -run TestDocs -update writes it); it should be\n%s", keysTable())
	}
}

// keysTable are the schema's keys as docs/policy.md has them.
func keysTable() string {
	var b strings.Builder
	b.WriteString("| key | type, default | meaning |\n|---|---|---|\n")
	for _, k := range client.PolicySchema() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Name, kindAndDefault(k), k.Meaning.English)
	}
	return b.String()
}

func kindAndDefault(k client.PolicyKey) string {
	without := unset(k).English
	switch k.Kind {
	case client.PolicyChoice:
		return strings.Join(k.Values(), ", ") + "; " + without
	case client.PolicyInt:
		return fmt.Sprintf("%d to %d, %s", k.Min, k.Max, without)
	case client.PolicyString:
		return k.Takes.English + ", " + without
	case client.PolicyStrings, client.PolicyNetworks:
		return fmt.Sprintf("list of %s, %s; at most %d", k.Takes.English, without, k.Most)
	}
	return string(k.Kind) + ", " + without
}
