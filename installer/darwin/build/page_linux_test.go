package main

import (
	"bytes"
	"debug/macho"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/installer/toolstest"
)

// A Mac for this test is a directory with this machine's /usr/bin and libraries, into which commands are put by chroot(8). What only macOS
// has is in its /usr/sbin, as stand-ins; everything else is as the packages make it.
type box struct {
	t     *testing.T
	root  string
	shell string // what /bin/sh is there
}

// standIns are what only macOS has: the Installer, which opens packages by other programs than ours; launchd, which runs the program
// of its list for what it says of itself; and what knows of packages.
var standIns = map[string]string{
	"installer": `#!/usr/bin/python3
import os, re, subprocess, sys, tempfile, xml.etree.ElementTree as xml
assert sys.argv[1] == "-pkg" and sys.argv[3:] == ["-target", "/"], sys.argv
package = os.path.abspath(sys.argv[2])
inside = tempfile.mkdtemp()
subprocess.run(["bsdtar", "-xf", package, "-C", inside], check=True)
components = [inside]
if os.path.exists(inside + "/Distribution"):
    of = xml.parse(inside + "/Distribution").getroot()
    files = {r.get("id"): r.text.strip().lstrip("#") for r in of.findall("pkg-ref") if r.text and r.text.strip()}
    components = [inside + "/" + files[c.find("pkg-ref").get("id")] for c in of.findall("choice") if c.get("start_selected") == "true"]
for c in components:
    info = xml.parse(c + "/PackageInfo").getroot()
    for f in subprocess.run(["bsdtar", "-tf", c + "/Payload"], check=True, capture_output=True, text=True).stdout.split("\n"):
        assert not f.startswith("/") and ".." not in f, f
    subprocess.run(["bsdtar", "-xpf", c + "/Payload", "-C", "/"], check=True)
    for name in os.listdir("/Library/Adit"):
        at = "/Library/Adit/" + name
        b = b"" if os.path.isdir(at) else open(at, "rb").read()
        if b.startswith(bytes.fromhex("cafebabe")): # a program of macOS: what it says of itself is its last words
            said = re.search(b"[a-z0-9-]+ [0-9.]+$", b).group().decode()
            open(at, "w").write("#!/bin/sh\necho " + said + " \"$@\"\n")
    if os.path.isfile(c + "/Scripts"):
        scripts = tempfile.mkdtemp()
        subprocess.run(["bsdtar", "-xpf", c + "/Scripts", "-C", scripts], check=True)
        for name in ["preinstall", "postinstall"]:
            if os.path.exists(scripts + "/" + name):
                subprocess.run([scripts + "/" + name, package, "/", "/", "/"], check=True, env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
        subprocess.run(["rm", "-rf", scripts], check=True)
    open("/var/db/receipts/" + info.get("identifier"), "w").write(info.get("version"))
subprocess.run(["rm", "-rf", inside], check=True)
`,
	"launchctl": `#!/bin/sh
list=/Library/LaunchDaemons/com.adit.aditd.plist
case "$*" in
"print-disabled system") echo "disabled services = {"; echo "}" ;;
"print system/com.adit.aditd") cat /running ;;
"bootout system/com.adit.aditd") [ -e /running ] || exit 3; [ ! -e /var/run/adit/restart ] || touch /handed-over; rm /running ;;
"bootstrap system $list")
	[ ! -e /running ] || exit 5
	program=$(sed -n 's,.*<string>\(/.*aditd\)</string>.*,\1,p' $list)
	"$program" >/running
	mkdir -p /var/run/adit /var/db/adit
	echo kept >/var/db/adit/profile
	for file in /var/log/aditd.log /var/log/aditd.log.0; do : >$file; done ;;
*) echo "launchctl $*?" >&2; exit 64 ;;
esac
`,
	"pkgutil": `#!/bin/sh
case "$1" in
--pkg-info) cat /var/db/receipts/"$2" ;;
--forget) rm /var/db/receipts/"$2" ;;
*) exit 64 ;;
esac
`,
	"sudo": "#!/bin/sh\nexec \"$@\"\n",
}

func newBox(t *testing.T, shell string) box {
	t.Helper()
	b := box{t, t.TempDir(), shell}
	for _, dir := range []string{"usr/bin", "usr/lib", "usr/lib64", "usr/sbin", "dev", "proc", "tmp", "var/run", "var/log", "var/db/receipts", "Library/LaunchDaemons", "Applications", "Users/ann", "etc"} {
		if err := os.MkdirAll(filepath.Join(b.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+name, filepath.Join(b.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range standIns {
		write(t, filepath.Join(b.root, "usr/sbin", name), []byte(text))
	}
	return b
}

// do runs a script as a person at the Mac's terminal, in the directory with the packages. All mounts end with it.
func (b box) do(script string) (string, error) {
	b.t.Helper()
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", `
for dir in usr/bin usr/lib usr/lib64 dev; do [ ! -d /$dir ] || mount --bind /$dir "$1/$dir"; done
mount --bind "$(readlink -f "$2")" "$1/$(readlink -f /bin/sh)"
mount -t proc proc "$1/proc"
exec chroot "$1" /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin sh -ec "cd /Users/ann; $3"`, "sh", b.root, b.shell, script)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

func (b box) must(script string) string {
	b.t.Helper()
	out, err := b.do(script)
	if err != nil {
		b.t.Fatalf("%s\n%v: %s", script, err, out)
	}
	return out
}

// files are all paths of the Mac.
func (b box) files() string {
	b.t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(b.root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintf(&all, "%v %s\n", info.Mode(), strings.TrimPrefix(path, b.root))
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all.String()
}

// shells are the commands of a section of the page, block by block.
func shells(t *testing.T, page, section string) []string {
	t.Helper()
	_, rest, found := strings.Cut(page, "\n## "+section+"\n")
	if !found {
		t.Fatalf("the page has no section %q", section)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	var out []string
	for {
		var block string
		if _, rest, found = strings.Cut(rest, "```sh\n"); !found {
			return out
		}
		block, rest, _ = strings.Cut(rest, "```")
		out = append(out, block)
	}
}

// released makes the packages of a version, whose programs say so.
func released(t *testing.T, version, into string) {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"adit", "aditd", "adit-pkcs11", "adit-endpoint", "aws-vpn-client"} {
		write(t, filepath.Join(bin, "darwin-amd64", name), thin(macho.CpuAmd64, name+" "+version, false))
		write(t, filepath.Join(bin, "darwin-arm64", name), thin(macho.CpuArm64, name+" "+version, true))
	}
	if err := run([]string{"pkg", "-version", version, "-bin", bin, "-pages", pages(t), "-o", into}, epoch, nil); err != nil {
		t.Fatal(err)
	}
}

// TestMacInstallPage follows docs/install/macos.md: install, upgrade, downgrade, remove; with the shells that /bin/sh of macOS can be, as far as
// Debian has them: dash, and bash in the mode that it has under that name (macOS' is 3.2).
func TestMacInstallPage(t *testing.T) {
	toolstest.Needs(t, "bsdtar", "python3", "unshare")
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root, for chroot")
		}
		t.Skip("needs root, for chroot")
	}
	page := string(read(t, "../../../docs/install/macos.md"))
	install, remove := shells(t, page, "Install"), shells(t, page, "Remove")
	if len(install) != 3 || len(remove) != 1 {
		t.Fatalf("%d blocks that install, %d that remove", len(install), len(remove))
	}
	purge := "sudo " + darwin.Programs + "/uninstall --purge"
	if !strings.Contains(page, "`"+purge+"`") {
		t.Fatalf("the page does not say %s", purge)
	}
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			at, err := exec.LookPath(shell)
			if err != nil {
				t.Fatal(err)
			}
			b := newBox(t, at)
			for _, version := range []string{"1.2.3", "1.2.4"} {
				released(t, version, filepath.Join(b.root, "Users/ann"))
			}
			homebrew := shell == "bash" // a person's /usr/local, as Homebrew makes it
			if homebrew {
				share := filepath.Join(b.root, "usr/local/share")
				if err := errors.Join(os.MkdirAll(share, 0o755), os.Chown(share, 501, 80)); err != nil {
					t.Fatal(err)
				}
			}
			before := b.files()
			as := func(block, version string) string { return strings.ReplaceAll(block, "VERSION", version) }

			if out := b.must(as(install[0], "1.2.3")); out != "" {
				t.Errorf("the installation says %q", out)
			}
			if out := b.must(install[1]); out != "adit 1.2.3 version\naditd 1.2.3\n" {
				t.Errorf("is it there? %q", out)
			}
			b.must(install[2])
			if out := b.must("aws-vpn-client list"); out != "aws-vpn-client 1.2.3 list\n" {
				t.Errorf("aws-vpn-client is %q", out)
			}
			b.must(as("sudo installer -pkg adit-endpoint-VERSION.pkg -target /", "1.2.3"))
			if out := b.must("adit-endpoint"); out != "adit-endpoint 1.2.3\n" {
				t.Errorf("adit-endpoint is %q", out)
			}
			if out := b.must("cat /usr/local/share/man/man1/adit-connect.1 /usr/local/share/zsh/site-functions/_adit-endpoint"); out != "man1/adit-connect.1\nzsh/_adit-endpoint\n" {
				t.Errorf("pages: %q", out)
			}
			if out, want := b.must("stat -c %u:%g /usr/local/share/man /usr/local/share/fish/vendor_completions.d"), "501:80\n501:80\n"; (out == want) != homebrew {
				t.Errorf("directories of %q", out)
			}
			if _, err := b.do("[ -e /handed-over ]"); err == nil {
				t.Error("the first installation is taken for an upgrade")
			}
			for _, version := range []string{"1.2.4", "1.2.3"} {
				installed := b.files()
				if out := b.must(as(install[0], version)); out != "" {
					t.Errorf("the upgrade says %q", out)
				}
				if out := b.must(install[1]); out != as("adit VERSION version\naditd VERSION\n", version) {
					t.Errorf("after the upgrade to %s: %q", version, out)
				}
				b.must("rm /handed-over") // the old service was told, or this fails
				if now := b.files(); now != installed {
					t.Errorf("before %s:\n%s\nafter:\n%s", version, installed, now)
				}
			}

			if out := b.must(remove[0]); out != "profiles and settings stay in /var/db/adit\n" && !strings.HasSuffix(out, "cleanup\nprofiles and settings stay in /var/db/adit\n") {
				t.Errorf("the removal says %q", out)
			}
			b.must("[ ! -e /running ]")
			if now := strings.Replace(b.files(), "drwxr-xr-x /var/db/adit\n-rw-r--r-- /var/db/adit/profile\n", "", 1); now != before {
				t.Errorf("before:\n%s\nafter the removal:\n%s", before, now)
			}
			b.must(as(install[0], "1.2.4"))
			b.must(purge)
			if now := b.files(); now != before {
				t.Errorf("before:\n%s\nafter the purge:\n%s", before, now)
			}
		})
	}
}
