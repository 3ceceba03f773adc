package profile

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestSamples reads one file as each common generator writes it (the texts are
// ours, certificates and keys are made here) and compares what adit check says of
// every line with NAME.golden. UPDATE_GOLDEN=1 writes the goldens anew.
func TestSamples(t *testing.T) {
	ca := newAuthority(t, "Example CA")
	me := issue(t, &ca, "alice", client)
	wrapped := make([]byte, 256+300)
	wrapped[len(wrapped)-2], wrapped[len(wrapped)-1] = 300>>8, 300&0xff
	fill := strings.NewReplacer(
		"@CA@", strings.TrimSpace(ca.pem), "@CERT@", strings.TrimSpace(me.pem), "@KEY@", strings.TrimSpace(me.kpem), "@STATIC@", strings.TrimSpace(staticKeyText),
		"@CRYPTV2@", strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "OpenVPN tls-crypt-v2 client key", Bytes: wrapped}))))
	files, err := filepath.Glob("testdata/samples/*.ovpn")
	if err != nil || len(files) < 13 {
		t.Fatal(err, files)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".ovpn")
		p, err := Parse(name, []byte(fill.Replace(string(text))), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := p.Check(testNow())
		var got bytes.Buffer
		for _, d := range r.Directives {
			why := first(d.Note, d.Does)
			if why == "" {
				t.Errorf("%s: nothing is said of %q", name, d.Words)
			}
			fmt.Fprintf(&got, "%-11s %s: %s\n", d.Verdict, strings.Join(d.Words, " "), why)
		}
		fmt.Fprintf(&got, "\nservers %s\nsign-in %s\ntraffic %s\nname %q\nusable %v\n", strings.Join(r.Servers, " "), r.Auth, r.Traffic.Text, p.SuggestedName, r.Usable)
		golden := strings.TrimSuffix(file, ".ovpn") + ".golden"
		if os.Getenv("UPDATE_GOLDEN") != "" {
			if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\n%s", name, difference(string(want), got.String()))
		}
		// What is stored says the same.
		again, err := Parse(name, []byte(p.Text()), nil)
		if err != nil || !reflect.DeepEqual(again.Remotes, p.Remotes) {
			t.Errorf("%s: its own text: %v", name, err)
		}
	}
}

func difference(want, got string) string {
	var out []string
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for _, line := range w {
		if !slices.Contains(g, line) {
			out = append(out, "-"+line)
		}
	}
	for _, line := range g {
		if !slices.Contains(w, line) {
			out = append(out, "+"+line)
		}
	}
	return strings.Join(out, "\n")
}

// TestEveryUseIsExplained: adit check has a sentence for whatever it uses.
func TestEveryUseIsExplained(t *testing.T) {
	for name, r := range rules() {
		if r.apply != nil && r.note == "" && meaning([]string{name, "x"}) == "" {
			switch name {
			case "ns-cert-type", "askpass": // always with a note
			default:
				t.Errorf("%s has no explanation", name)
			}
		}
	}
}
