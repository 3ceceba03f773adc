//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/installer/mdm"
)

// TestAnsible runs the playbook against this machine, twice, in a view of the system that ends with the test: what it
// writes goes to a file system in memory over the real one. The view has no init, so that there is no service to start:
// boxes, which have one, have no Python.
func TestAnsible(t *testing.T) {
	needs(t, "ansible-playbook", "dpkg-deb", "unshare")
	policy, err := mdm.Example()
	if err != nil {
		t.Fatal(err)
	}
	files, err := mdm.Files(policy)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, text []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range files {
		write(f.Path, f.Text)
	}
	write("ansible/inventory.ini", []byte("[adit]\nlocalhost ansible_connection=local ansible_python_interpreter=/usr/bin/python3\n"))
	write("ansible/files/corp.ovpn", []byte("client\n"))
	write("deb/DEBIAN/control", []byte("Package: adit-stand-in\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: stands in for the package\n"))
	if out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", dir+"/deb", dir+"/adit.deb").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write("vars.json", fmt.Appendf(nil, `{"adit_package": "%s/adit.deb", "adit_profiles": [{"name": "corp", "src": "files/corp.ovpn"}], "adit_profiles_only": true}`, dir))
	// What docs/install/mdm.md says: into the folder, look, and the playbook.
	var typed []string
	page, err := os.ReadFile("../docs/install/mdm.md")
	if err != nil {
		t.Fatal(err)
	}
	commands, err := ReadPage(string(page), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if c.Section == "Ansible" {
			typed = append(typed, strings.Replace(c.Text, "cd dist/mdm/", "cd "+dir+"/", 1)+" ")
		}
	}
	if len(typed) != 4 || !strings.Contains(typed[1], "--syntax-check") || !strings.Contains(typed[2], "--check") {
		t.Fatalf("docs/install/mdm.md shows %q", typed)
	}
	for i := 1; i < len(typed); i++ {
		typed[i] += "-e @../vars.json"
	}
	look, play := typed[0]+"&& "+typed[1]+" && "+typed[2], typed[0]+"&& "+typed[3]

	script := `set -e
exec 2>&1
mkdir view && mount -t tmpfs view view && mkdir view/upper view/work view/root
mount -t overlay -o lowerdir=/,upperdir=view/upper,workdir=view/work view view/root
mount --rbind /dev view/root/dev && mount -t proc proc view/root/proc && mount -t tmpfs tmp view/root/tmp && mount -t tmpfs run view/root/run && mkdir -p view/root` + dir + ` && mount --bind . view/root` + dir + `
rm -f view/root/usr/sbin/init && mkdir -p view/root/etc/adit/profiles && echo client >view/root/etc/adit/profiles/old.ovpn
chroot view/root sh -c '` + look + `'
[ ! -e view/root/etc/adit/policy.json ]
for run in 1 2; do chroot view/root sh -c '` + play + `'; done
chroot view/root sh -c "` + play + ` -e '{\"adit_policy\": {\"Gard\": \"off\"}}'" || echo refused
chroot view/root dpkg-query -W adit-stand-in
for at in $(find view/upper -name '*.deb'); do
while [ "$at" != view/upper ]; do at=$(dirname "$at") && stat -c 'above the package: %u %a' "$at"; done
done
cp -a view/root/etc/adit result`
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ANSIBLE_GATHERING=smart", "ANSIBLE_CACHE_PLUGIN=jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION=/tmp/facts", "ANSIBLE_LOCALHOST_WARNING=false", "ANSIBLE_NOCOLOR=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	recap := strings.Split(string(out), "PLAY RECAP")
	if len(recap) == 5 {
		recap = recap[1:] // of --check
	}
	if len(recap) != 4 || strings.Contains(recap[1], "changed=0 ") || !strings.Contains(recap[2], "changed=0 ") || !strings.Contains(recap[3], "refused") ||
		!strings.Contains(string(out), "There are no such keys: Gard") || !strings.Contains(string(out), "adit-stand-in\t1.0") {
		t.Errorf("%s", out)
	}
	// What root installs: nobody else can have made it, nor can put another in its place.
	above := regexp.MustCompile(`(?m)^above the package: (\d+) (\d+)$`).FindAllStringSubmatch(string(out), -1)
	if len(above) == 0 || above[0][2] != "700" {
		t.Errorf("the package is in no folder of root alone: %q\n%s", above, out)
	}
	for _, folder := range above {
		if mode, err := strconv.ParseUint(folder[2], 8, 32); err != nil || folder[1] != "0" || mode&0o022 != 0 {
			t.Errorf("a folder above the package is of user %s, mode %s", folder[1], folder[2])
		}
	}
	read := func(name string) client.Policy {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := client.ParsePolicy(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		return p
	}
	if got, want := read("result/policy.json"), read("policy.json"); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	for name, mode := range map[string]os.FileMode{"": 0o755 | os.ModeDir, "policy.json": 0o644, "profiles": 0o700 | os.ModeDir, "profiles/corp.ovpn": 0o600} {
		info, err := os.Stat(filepath.Join(dir, "result", name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(dir + "/result/profiles/old.ovpn"); err == nil {
		t.Error("another profile is left")
	}
}
