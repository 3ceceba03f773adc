// Package adit has no code: this file holds the house's import table to the tree.
package adit

import (
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/adit-vpn/adit/"

// allowed says which of our packages each package may import: a trailing "/..."
// means the tree below too. It is the table of docs/architecture.md. Test
// files, *test packages, lab and bench may import anything.
var allowed = map[string][]string{
	"ovpn/wire":      {},
	"ovpn/push":      {},
	"ovpn/framing":   {},
	"ovpn/mss":       {},
	"ovpn/pmtud":     {},
	"ovpn/challenge": {"ovpn/push"},
	"ovpn/profile":   {"ovpn/push"},
	"ovpn/wrap":      {"ovpn/wire"},
	"ovpn":           {"ovpn/wire", "ovpn/wrap", "ovpn/push"},
	"ovpn/drive":     {"ovpn", "ovpn/framing"},

	"saml/sp":  {},
	"saml/idp": {},

	"routes":             {"ovpn/push"},
	"platform/ipc":       {},
	"platform/udp":       {},
	"platform/tcp":       {},
	"platform/acl":       {},
	"platform/confine":   {},
	"platform/lock":      {"platform/acl"},
	"platform/trusted":   {"platform/acl"},
	"platform/durable":   {},
	"platform/logfile":   {},
	"platform/offload":   {},
	"platform/nft":       {},
	"platform/managed":   {},
	"platform/watch":     {},
	"platform/svc":       {"platform/bus"},
	"platform/seal":      {},
	"platform/wfp":       {"routes"},
	"platform/probe":     {},
	"platform/bus":       {},
	"platform/sessions":  {"platform/bus"},
	"platform/portal":    {"platform/bus"},
	"platform":           {"routes", "platform/bus", "platform/udp", "platform/durable", "platform/lock", "platform/offload", "platform/nft", "platform/wfp"},
	"platform/userspace": {"platform", "routes", "platform/udp", "platform/offload"},

	"platform/autostart":    {"platform/durable"},
	"platform/svc/manage":   {"platform/bus", "platform/durable", "platform/svc", "platform/trusted"},
	"platform/secrets":      {"ovpn/push"},
	"platform/token":        {"ovpn/push"},
	"platform/token/pkcs11": {"ovpn/push", "platform/token"},
	"saml/signin":           {"ovpn/challenge", "ovpn/push"},

	"gui/icon":     {},
	"gui/font":     {},
	"gui/demo":     {"client/api"},
	"gui/instance": {"platform/ipc", "platform/lock"},
	"gui/tray":     {},
	"gui":          {"gui/view", "gui/icon", "gui/font", "gui/tray", "ovpn/push"},

	"client/stopwatch": {},
	"client/api":       {"platform/ipc", "ovpn/push", "routes"},
	"client/proxy":     {"ovpn/push", "platform/udp"},
	"client/source":    {"client/api", "ovpn/profile"},

	"client/migrate":  {"ovpn/profile", "ovpn/push"},
	"client/diagnose": {"client/api", "ovpn/profile", "routes"},
	"client/reach":    {"client/api", "platform/probe", "routes"},
	"client": {
		"client/api", "client/proxy", "client/stopwatch", "ovpn/...", "routes", "platform", "platform/udp", "platform/tcp", "platform/offload", "platform/userspace", "platform/ipc", "platform/lock", "platform/durable", "platform/nft", "platform/seal", "platform/sessions", "platform/portal",
	},
	"endpoint/cedar":     {},
	"endpoint/ec2/query": {},
	"endpoint/ec2":       {"endpoint", "endpoint/ec2/query", "endpoint/model"},
	"endpoint/...": {
		"endpoint/...", "ovpn/...", "saml/sp", "saml/idp", "routes", "platform", "platform/udp", "platform/tcp", "platform/offload", "platform/userspace", "platform/ipc", "platform/lock", "platform/durable", "platform/nft",
	},

	"installer/version": {},
	"installer/darwin":  {},
	"installer/linux":   {},

	"installer/manifest":  {"installer/version"},
	"installer/mdm":       {"client"},
	"installer/mdm/build": {"installer/mdm"},

	"installer/release":       {"installer/version", "installer/manifest", "installer/darwin/macho"},
	"installer/release/build": {"installer/release", "installer/manifest"},

	"installer/linux/build":       {"installer/version", "gui/icon"},
	"installer/linux/manual":      {},
	"installer/windows/build":     {"installer/version", "gui/icon", "platform/svc"},
	"installer/windows/resources": {"installer/version", "gui/icon", "platform/durable"},

	"installer/darwin/xar":     {},
	"installer/darwin/payload": {},
	"installer/darwin/macho":   {},
	"installer/darwin/flat":    {"installer/darwin/macho", "installer/darwin/payload", "installer/darwin/xar"},
	"installer/darwin/build":   {"gui/icon", "installer/darwin", "installer/darwin/flat", "installer/darwin/macho", "installer/darwin/payload", "installer/version"},

	"gui/i18n": {"client/api", "ovpn/profile"},
	"gui/view": {"client/api", "client/reach", "client/source", "gui/i18n", "ovpn/profile", "ovpn/push", "platform/durable", "platform/secrets", "routes", "saml/signin"},

	"cmd/adit":           {"installer/manifest", "installer/linux/manual", "client/api", "client/source", "client/migrate", "client/diagnose", "client/reach", "client/stopwatch", "ovpn/profile", "ovpn/push", "saml/signin", "platform/secrets", "platform/token", "client", "platform", "platform/userspace", "platform/ipc", "platform/portal", "platform/probe", "platform/svc", "platform/svc/manage", "routes", "installer/darwin", "installer/linux"},
	"cmd/adit-gui":       {"gui", "gui/view", "gui/demo", "gui/instance", "gui/tray", "client/api", "client/diagnose", "client/reach", "client/source", "installer/darwin", "platform/autostart", "platform/ipc", "platform/secrets", "saml/signin"},
	"cmd/adit-pkcs11":    {"platform/token", "platform/token/pkcs11"},
	"cmd/aditd":          {"client", "client/api", "installer/darwin", "platform", "platform/confine", "platform/durable", "platform/ipc", "platform/lock", "platform/logfile", "platform/managed", "platform/portal", "platform/seal", "platform/sessions", "platform/svc", "platform/trusted", "platform/watch"},
	"cmd/aws-vpn-client": {"client/api", "client/diagnose", "client/source", "ovpn/profile", "ovpn/push", "platform/durable", "platform/ipc", "platform/lock", "platform/managed", "saml/signin"},
	"cmd/adit-endpoint":  {"installer/linux/manual", "platform/svc", "endpoint/...", "saml/sp", "saml/idp", "ovpn/challenge", "ovpn/profile", "ovpn/wrap", "ovpn/push", "platform", "platform/udp", "platform/durable", "platform/ipc", "platform/lock"},
}

func TestImportsFollowTheTable(t *testing.T) {
	for _, goos := range []string{"linux", "windows", "darwin"} {
		ctx := build.Default
		ctx.GOOS, ctx.CgoEnabled, ctx.BuildTags = goos, false, []string{"gui"}
		err := filepath.WalkDir(".", func(dir string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			dir = filepath.ToSlash(dir)
			if dir == "lab" || dir == "bench" || dir != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || strings.HasSuffix(dir, "test")) {
				return fs.SkipDir
			}
			pkg, err := ctx.ImportDir(dir, 0)
			if err != nil || dir == "." {
				return nil // no Go files for this system
			}
			may, known := permission(dir)
			if !known {
				t.Errorf("%s is not in the import table", dir)
			}
			for _, imp := range pkg.Imports {
				if ours, ok := strings.CutPrefix(imp, module); ok && !slices.ContainsFunc(may, func(p string) bool { return match(p, ours) }) {
					t.Errorf("%s imports %s (GOOS=%s)", dir, ours, goos)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// permission finds the entry for a package: its own, or the nearest tree's.
func permission(dir string) ([]string, bool) {
	if may, ok := allowed[dir]; ok {
		return may, true
	}
	for up := dir; up != "."; up = path.Dir(up) {
		if may, ok := allowed[up+"/..."]; ok {
			return may, true
		}
	}
	return nil, false
}

func match(pattern, pkg string) bool {
	tree, isTree := strings.CutSuffix(pattern, "/...")
	return pkg == tree || isTree && strings.HasPrefix(pkg, tree+"/")
}

// TestTreeIsWritten: docs/architecture.md names every file of the engine, and no other.
func TestTreeIsWritten(t *testing.T) {
	b, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "- `ovpn/`")
	text, _, _ = strings.Cut(text, "\n- `")
	text, _, ok := strings.Cut(text, "  - `wire/`")
	if !ok {
		t.Fatal("no list of the engine's files")
	}
	files, err := filepath.Glob("ovpn/*.go")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, f := range files {
		name := filepath.Base(f)
		if there[name] = true; !strings.HasSuffix(name, "_test.go") && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("%s is not in docs/architecture.md", name)
		}
	}
	for i, name := range strings.Split(text, "`") {
		if i%2 == 1 && !there[name] {
			t.Errorf("docs/architecture.md names %s, which is not there", name)
		}
	}
}
