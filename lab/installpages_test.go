//go:build linux

package lab

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onTree gives a node this tree at its own place, with a history of its own of which nothing is uncommitted: what is written into
// it is gone with the node.
func (s *site) onTree(n *Node) (root string) {
	s.t.Helper()
	root, err := filepath.Abs("..")
	s.ok(err)
	view := filepath.Join(n.Dir, "view")
	s.ok(n.Do(func() error {
		if err := os.Mkdir(view, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", view, "tmpfs", 0, "mode=755"); err != nil {
			return err
		}
		for _, d := range []string{"upper", "work"} {
			if err := os.Mkdir(filepath.Join(view, d), 0o755); err != nil {
				return err
			}
		}
		return unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s/upper,workdir=%s/work", root, view, view))
	}))
	s.must(s.typed(n, root)("rm -rf .git bin dist && git init -q && git add -A && git commit -q -m 'this tree'"))
	return root
}

// typed is what a shell in a folder of a node does with a command. git knows who somebody is there, and Go has this machine's caches.
func (s *site) typed(n *Node, folder string, env ...string) func(string) (string, error) {
	s.t.Helper()
	caches, err := exec.Command("go", "env", "GOMODCACHE", "GOCACHE").Output()
	s.ok(err)
	modules, builds, _ := strings.Cut(strings.TrimSpace(string(caches)), "\n")
	env = append([]string{"env", "GIT_CONFIG_COUNT=3", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_CONFIG_KEY_1=user.name", "GIT_CONFIG_VALUE_1=Adit",
		"GIT_CONFIG_KEY_2=user.email", "GIT_CONFIG_VALUE_2=adit@example.com", "GOFLAGS=-mod=readonly", "GOMODCACHE=" + modules, "GOCACHE=" + builds}, env...)
	return func(command string) (string, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		return n.Run(ctx, append(env, "sh", "-c", "cd '"+folder+"' && "+command)...)
	}
}

func (s *site) must(out string, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// releaseMake stands in for make: of a release it makes only what the lab has made of it, but all that accompanies it.
const releaseMake = `#!/bin/sh
set -e
[ "$1" = release ] || exec REAL "$@"
shift
for a; do case $a in RELEASE_KEY=*) key="-X main.releaseKey=${a#*=}" ;; esac; done
rm -rf dist
mkdir -p dist/bin dist/packages dist/mdm
cp NOTICE dist
cp PACKAGES/*1.2.3*.* dist/packages
cp -r PACKAGES/bin-1.2.3/* dist/bin
CGO_ENABLED=0 go build -buildvcs=false -tags nouserspace -ldflags "-s -w -X main.version=1.2.3 $key" -o dist/bin/linux-ARCH/adit ./cmd/adit
exec REAL finish "$@"
`

// TestReleasePages follows docs/install/release.md on this tree, and with the programs of that release, on a machine that systemd has started,
// docs/install/upgrade.md and docs/migrate.md. With ADIT_LAB=full the release is whole.
func TestReleasePages(t *testing.T) {
	t.Parallel()
	needs(t, "git", "make", "minisign", "unshare")
	b := debBox(t)
	dir, err := linuxPackages()
	b.ok(err)
	builder := b.node("builder")
	root := b.onTree(builder)
	tools := filepath.Join(builder.Dir, "tools")
	b.ok(os.Mkdir(tools, 0o755))
	if os.Getenv("ADIT_LAB") != "full" {
		real, err := exec.LookPath("make")
		b.ok(err)
		b.ok(os.WriteFile(filepath.Join(tools, "make"), []byte(strings.NewReplacer("REAL", real, "PACKAGES", dir, "ARCH", runtime.GOARCH).Replace(releaseMake)), 0o755))
	}
	make := b.typed(builder, root, "PATH="+tools+":"+os.Getenv("PATH"))
	upgrade := follow(t, "../docs/install/upgrade.md", true)
	upgrade.Terminal = b.typedBy("root")

	p := follow(t, "../docs/install/release.md", true)
	p.Terminal = make
	p.Swap = [][2]string{{"minisign -G ", "minisign -G -W "}} // nobody is here who would type a passphrase
	const twice = "takes an hour, or minutes: by hand; TestReproducible in installer/release does it with one program"
	p.Apart = map[string]string{
		"make reproduce": twice,
		"make reproduce WHAT=dist SYSTEMS=linux/amd64": twice,
		"make notice": "TestNotice in installer/release compares what it makes",
	}
	for p.next < len(p.commands) {
		c := p.commands[p.next]
		if strings.HasPrefix(c.Text, "adit version") {
			p.Terminal = b.typedBy("root")
		}
		said := p.step()
		switch {
		case strings.HasPrefix(c.Text, "make release") && strings.Contains(c.Text, "RELEASE_KEY=") && strings.Contains(said, "not signed"):
			t.Errorf("%s: %s", c.Text, said)
		case strings.HasPrefix(c.Text, "git tag"):
			if said := b.must(make("make -n finish")); !strings.Contains(said, "-version '1.2.3' ") {
				t.Errorf("%s: the version is another one: %s", c.Text, said)
			}
		case strings.HasPrefix(c.Text, "minisign -S"):
			b.released(builder, root)
			upgrade.step()
			if program := b.property("ExecStart"); !strings.Contains(program, "/opt/adit/aditd") {
				t.Errorf("%s: the service is %s", upgrade.commands[0].Text, program)
			}
		case strings.Contains(c.Text, "--json") && !strings.Contains(said, `"problems": []`):
			t.Errorf("%s: %s", c.Text, said)
		}
	}
	b.migratePage()
	upgrade.step()
	if state := b.property("LoadState"); state != "not-found" {
		t.Errorf("%s: the service is %s", upgrade.commands[1].Text, state)
	}
}

// released puts a release's programs into /opt/adit of the box, as somebody does it by hand, its manifest where the administrator keeps it, and
// both where the page's web server is.
func (b *boxed) released(builder *Node, root string) {
	b.t.Helper()
	take := func(from, to string, mode os.FileMode) (text []byte) {
		b.t.Helper()
		b.ok(builder.Do(func() (err error) { text, err = os.ReadFile(filepath.Join(root, from)); return err }))
		b.ok(b.box.Write(to, text, mode))
		return text
	}
	for _, name := range []string{"adit", "adit-userspace", "aditd", "adit-pkcs11", "aws-vpn-client"} {
		take("dist/bin/linux-"+runtime.GOARCH+"/"+name, "/opt/adit/"+name, 0o755)
	}
	files := http.NewServeMux()
	for _, name := range []string{"manifest.json", "manifest.json.minisig"} {
		text := take("dist/"+name, "/root/"+name, 0o644)
		files.HandleFunc("/adit/"+name, func(w http.ResponseWriter, _ *http.Request) { w.Write(text) })
	}
	take("adit.pub", "/root/adit.pub", 0o644)
	server := httptest.NewUnstartedServer(files)
	server.Listener.Close()
	var err error
	server.Listener, err = b.internet.Listen("tcp", netip.AddrPortFrom(webAddr, 443).String())
	b.ok(err)
	server.StartTLS()
	b.t.Cleanup(server.Close)
	b.ok(b.box.Write("/etc/ssl/certs/ca-certificates.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644))
	b.ok(b.box.Write("/etc/hosts", []byte(webAddr.String()+" it.example.com\n"), 0o644))
	b.ok(b.box.Write("/usr/local/bin/sudo", []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755))
}

// migratePage follows docs/migrate.md as alice, who used AWS's client.
func (b *boxed) migratePage() {
	b.t.Helper()
	const home = "/home/alice"
	profile, err := os.ReadFile(b.dataDir() + "/client.ovpn")
	b.ok(err)
	b.in(b.box, "sh", "-c", "groupadd -f adit && useradd -m -G adit alice") // as README.md says
	b.ok(b.box.Write(home+"/production.ovpn", profile, 0o600))
	b.ok(b.box.Write(home+"/.config/AWSVPNClient/OpenVpnConfigs/Production", profile, 0o600))
	b.ok(b.box.Write(home+"/.config/AWSVPNClient/ConnectionProfiles", []byte(`{"Version":"1","ConnectionProfiles":[{"ProfileName":"Production","OvpnConfigFilePath":"`+
		home+`/.config/AWSVPNClient/OpenVpnConfigs/Production","CvpnEndpointId":"cvpn-endpoint-1","CvpnEndpointRegion":"eu-west-1","CompatibilityVersion":"1","FederatedAuthType":0}]}`), 0o600))
	b.in(b.box, "chown", "-R", "alice:", home)

	alice := b.typedBy("alice")
	p := follow(b.t, "../docs/migrate.md", true)
	p.Terminal = alice
	const keyfiles = "TestImportFromNetworkManager follows it"
	p.Apart = map[string]string{
		"mkdir -m 700 nm": keyfiles, `sudo install -o "$USER" -m 600 -t nm /etc/NetworkManager/system-connections/*`: keyfiles,
		"adit import --from networkmanager nm": keyfiles, "rm -r nm": keyfiles,
	}
	for p.next < len(p.commands) {
		c := p.commands[p.next]
		if c.Text == "adit import Production.ovpn" {
			b.must(alice("adit remove Production")) // ours stood in for AWS's command, and has given out its own
		}
		said := p.step()
		want := ""
		switch words := strings.Fields(c.Text); strings.Join(words[:2], " ") {
		case "adit import":
			want = "imported "
			if strings.Contains(c.Text, "--dry-run") {
				want = "usable "
			}
		case "aws-vpn-client list-profiles":
			want = `"Production"`
		case "aws-vpn-client connect":
			want = `"Connected"`
			b.seen(webAddr, endpointSeen)
		case "aws-vpn-client get-connection-status":
			want = `"connection-status": "Connected"`
		case "aws-vpn-client disconnect":
			b.seen(webAddr, clientSeen)
		}
		if p.Apart[c.Text] == "" && !strings.Contains(said, want) {
			b.t.Errorf("%s: %s", c.Text, said)
		}
	}
}

// typedBy is what a person's shell in the box does with a command, with the programs of /opt/adit.
func (b *boxed) typedBy(user string) func(string) (string, error) {
	return func(command string) (string, error) {
		return b.tryIn(b.box, "setpriv", "--reuid="+user, "--regid="+user, "--init-groups", "env", "USER="+user,
			"PATH=/opt/adit:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", "export HOME=~"+user+" && cd && "+command)
	}
}

// TestMacPage: what docs/install/macos.md shows is followed by tests beside what they try, or by nobody.
func TestMacPage(t *testing.T) {
	const (
		follows = "TestInstallPage in installer/darwin/build follows it"
		mac     = "needs a Mac"
	)
	p := follow(t, "../docs/install/macos.md", true)
	p.Apart = map[string]string{
		"sudo installer -pkg Adit-VERSION.pkg -target /": follows,
		"adit version": follows,
		"sudo ln -s /Library/Adit/aws-vpn-client /usr/local/bin/aws-vpn-client": follows,
		"sudo /Library/Adit/uninstall":                                          follows,
		"make package-darwin":                                                   follows + ", by the program that it starts",
		"CGO_ENABLED=1 GOARCH=amd64 make gui BIN=bin/amd64":                     mac + " and Apple's SDK",
		"go run ./installer/darwin/build list dist/packages/Adit-*.pkg":         "TestPackages in installer/darwin/build reads what it prints",
		`APPLICATION="Developer ID Application: NAME (TEAM)"`:                   "TestSignedForMacOS in installer/release follows it, with stand-ins",
	}
	p.rest(func(Command, string) {})
}
