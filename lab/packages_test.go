//go:build linux

package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	unit "github.com/adit-vpn/adit/installer/linux"
)

// linuxPackages is the directory with deb, rpm and tarball of two versions, which are made once out of programs that say so.
var linuxPackages = sync.OnceValues(func() (dir string, err error) {
	if _, err := binaries(); err != nil { // has the compiler's cache filled
		return "", err
	}
	dir = filepath.Join(os.TempDir(), "packages")
	run := func(name string, args ...string) error {
		cmd := exec.Command(name, args...)
		cmd.Dir = ".."
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SOURCE_DATE_EPOCH=1700000000")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
		}
		return nil
	}
	for _, version := range []string{"1.2.3", "1.3.0"} {
		to := filepath.Join(dir, "bin-"+version, "linux-"+runtime.GOARCH)
		link := "-ldflags=-s -w -X main.version=" + version
		for _, args := range [][]string{
			{"-o", to + "/", link, "./cmd/aditd", "./cmd/adit-endpoint", "./cmd/adit-pkcs11", "./cmd/aws-vpn-client"},
			{"-o", filepath.Join(to, "adit-userspace"), link, "./cmd/adit"},
			{"-o", filepath.Join(to, "adit"), "-tags", "nouserspace", link, "./cmd/adit"},
		} {
			if err := run("go", append([]string{"build"}, args...)...); err != nil {
				return "", err
			}
		}
		if err := run("go", "run", "./installer/linux/build", "-quick", "-version", version, "-bin", filepath.Dir(to), "-out", dir,
			"-arch", runtime.GOARCH, "-formats", "deb,rpm,tar", "-packages", "adit,adit-endpoint"); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// has puts packages into the box's /root.
func (b *boxed) has(names ...string) {
	b.t.Helper()
	dir, err := linuxPackages()
	b.ok(err)
	for _, name := range names {
		b.ok(b.box.Copy(filepath.Join(dir, name), "/root/"+name, 0o644))
	}
}

// files are all of the box but what every system writes by itself, and /root.
func (b *boxed) files() map[string]bool {
	b.t.Helper()
	m := map[string]bool{}
	for line := range strings.Lines(b.in(b.box, "find", "/", "-xdev", "(", "-path", "/proc", "-o", "-path", "/sys", "-o", "-path", "/root", "-o", "-path", "/tmp",
		"-o", "-path", "/var/log", "-o", "-path", "/var/cache", "-o", "-path", "/var/lib/dpkg", "-o", "-path", "/var/lib/apt", "-o", "-path", "/var/tmp", "-o", "-path", "/var/lib/systemd/timers", ")", "-prune", "-o", "-printf", "%y %p %l\n")) {
		m[strings.TrimRight(line, "\n")] = true
	}
	return m
}

// different says what is in one list alone.
func different(before, after map[string]bool) (list []string) {
	for f := range before {
		if !after[f] {
			list = append(list, "gone: "+f)
		}
	}
	for f := range after {
		if !before[f] {
			list = append(list, "new: "+f)
		}
	}
	slices.Sort(list)
	return list
}

// debBox is a Debian without anything of ours, in a world whose endpoint takes all traffic.
func debBox(t *testing.T) *boxed {
	t.Helper()
	needs(t)
	w := newWorld(t)
	b := &boxed{w, w.box(w.client), "/usr/bin/adit"}
	b.endpointUp(b.worldYAML(true, []string{"0.0.0.0/0"}, []string{"0.0.0.0/0", "10.1.0.0/16"}))
	return b
}

// TestDebPackage: installed, the service runs by its unit; replaced by a newer version while connected, and by the older one
// again, it connects again at once and has its profiles, and so where it had failed; removed and installed again, it runs again;
// purged, nothing is left.
func TestDebPackage(t *testing.T) {
	t.Parallel()
	b := debBox(t)
	arch := runtime.GOARCH
	b.has("adit_1.2.3_"+arch+".deb", "adit_1.3.0_"+arch+".deb")
	before, machine := b.files(), b.machine()
	if len(before) < 1000 {
		t.Fatalf("a machine of %d files", len(before))
	}
	b.in(b.box, "dpkg", "-i", "/root/adit_1.2.3_"+arch+".deb")
	if state, enabled := b.property("ActiveState"), b.property("UnitFileState"); state != "active" || enabled != "enabled" {
		t.Fatalf("the unit is %s, %s", state, enabled)
	}
	b.connectLab()
	b.seen(webAddr, endpointSeen)

	plain := b.plainly()
	for _, version := range []string{"1.3.0", "1.2.3"} {
		pid := b.property("MainPID")
		gap := b.gaps()
		b.in(b.box, "dpkg", "-i", "/root/adit_"+version+"_"+arch+".deb")
		b.until(soon, "the new service is connected", func() bool { return b.property("MainPID") != pid && b.lab().State == api.Connected })
		b.seen(webAddr, endpointSeen)
		lost := gap()
		t.Logf("to %s: %v without tunnel", version, lost.Round(10*time.Millisecond))
		if lost > 5*time.Second {
			t.Errorf("the tunnel was away for %v", lost)
		}
		if v := b.in(b.box, "adit", "version"); !strings.Contains(v, "aditd  "+version+" ") {
			t.Errorf("the service is not %s: %s", version, v)
		}
		if p := b.in(b.box, "adit", "profiles"); !strings.Contains(p, "lab") {
			t.Errorf("the profile is lost: %s", p)
		}
	}

	b.failed()
	b.in(b.box, "dpkg", "-i", "/root/adit_1.3.0_"+arch+".deb")
	b.until(soon, "the new service is connected, where the old one had failed", func() bool { return b.lab().State == api.Connected })
	b.seen(webAddr, endpointSeen)
	if n := plain(); n > 0 {
		t.Errorf("%d packets left beside the tunnel while versions changed", n)
	}

	b.in(b.box, "dpkg", "--remove", "adit")
	b.same("after the removal", machine, b.machine())
	b.seen(webAddr, clientSeen)
	if _, err := b.tryIn(b.box, "test", "-d", "/var/lib/adit/users"); err != nil {
		t.Errorf("the removal took the profiles: %s", b.in(b.box, "find", "/var/lib/adit"))
	}
	b.in(b.box, "dpkg", "-i", "/root/adit_1.2.3_"+arch+".deb")
	if state, enabled := b.property("ActiveState"), b.property("UnitFileState"); state != "active" || enabled != "enabled" {
		t.Errorf("installed again, the unit is %s, %s", state, enabled)
	}
	b.until(soon, "it is connected again", func() bool { return b.lab().State == api.Connected })
	b.in(b.box, "systemctl", "disable", "--now", unit.UnitName)
	b.in(b.box, "dpkg", "-i", "/root/adit_1.3.0_"+arch+".deb")
	if state, enabled := b.property("ActiveState"), b.property("UnitFileState"); state != "inactive" || enabled != "disabled" {
		t.Errorf("what an administrator has disabled is %s, %s after an upgrade", state, enabled)
	}
	b.in(b.box, "dpkg", "--purge", "adit")
	b.same("after the purge", machine, b.machine())
	if d := different(before, b.files()); len(d) > 0 {
		t.Errorf("purged, the machine differs:\n%s", strings.Join(d, "\n"))
	}
	if failed := b.in(b.box, "systemctl", "--failed", "--plain", "--no-legend"); failed != "" {
		t.Errorf("failed: %s", failed)
	}
}

// failed has the service fail, and systemd leave it so.
func (b *boxed) failed() {
	b.t.Helper()
	const dir = "/run/systemd/system/" + unit.UnitName + ".d"
	b.in(b.box, "sh", "-c", "mkdir -p "+dir+" && printf '[Service]\nRestart=no\n' >"+dir+"/fails.conf && systemctl daemon-reload")
	b.in(b.box, "systemctl", "kill", "--kill-whom=main", "--signal=KILL", unit.UnitName)
	b.until(soon, "it has failed", func() bool { return b.property("ActiveState") == "failed" })
	b.in(b.box, "rm", "-r", dir)
}

// gaps asks the host behind the tunnel all the time, and returns what ends that and says for how long nothing came back at most.
func (b *boxed) gaps() (longest func() time.Duration) {
	stop, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		last, worst := time.Now(), time.Duration(0)
		defer func() { done <- worst }()
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			c, err := b.client.Dial("tcp", fmt.Sprintf("%s:%d", worldHost, mirrorPort), 200*time.Millisecond)
			if err == nil {
				c.Close()
			}
			if now := time.Now(); err == nil {
				worst, last = max(worst, now.Sub(last)), now
			}
		}
	}()
	return func() time.Duration { close(stop); return <-done }
}

// TestInstallPage follows docs/install/linux.md.
func TestInstallPage(t *testing.T) {
	t.Parallel()
	b := debBox(t)
	const arch = "amd64" // of the page
	if runtime.GOARCH != arch {
		t.Skip("the page is for amd64")
	}
	b.has("adit_1.2.3_"+arch+".deb", "adit_1.3.0_"+arch+".deb", "adit-endpoint_1.2.3_"+arch+".deb", "adit-1.2.3-linux-"+arch+".tar.gz")
	profile, err := os.ReadFile(b.dataDir() + "/client.ovpn")
	b.ok(err)
	b.ok(b.box.Write("/root/office.ovpn", profile, 0o600))
	b.in(b.box, "useradd", "alice")
	p := follow(t, "../docs/install/linux.md", true)
	p.site, p.machines = b.site, map[string]*Node{"debian": b.client, "other": b.client}
	p.Apart = map[string]string{"dnf install ./adit-1.2.3-1.x86_64.rpm            # openSUSE: zypper install --allow-unsigned-rpm": "no system of rpms is here; TestRPMPackage runs rpm"}
	p.Wrap = map[string]func([]string) []string{"": func(argv []string) []string {
		return b.box.within([]string{"sh", "-c", "export DEBIAN_FRONTEND=noninteractive PATH=$PATH:/usr/local/sbin:/usr/local/bin; cd /root && " + argv[len(argv)-1]})
	}}
	p.rest(func(c Command, _ string) {
		switch {
		case strings.HasPrefix(c.Text, "adit connect"):
			b.seen(webAddr, endpointSeen)
		case strings.HasPrefix(c.Text, "usermod"):
			if groups := b.in(b.box, "id", "-nG", "alice"); !slices.Contains(strings.Fields(groups), "adit") {
				t.Errorf("alice is in %s", groups)
			}
		case strings.HasPrefix(c.Text, "systemctl daemon-reload"):
			yaml, err := b.box.Read("/etc/adit-endpoint/endpoint.yaml")
			b.ok(err)
			b.ok(b.box.Write("/etc/adit-endpoint/endpoint.yaml", []byte(kernelExample.Replace(string(yaml))), 0o644))
		}
	})

	// What the page does not tell: an installation goes, whatever has become of its service, which may be another's.
	install := func(args string) {
		t.Helper()
		b.in(b.box, "sh", "-c", "/root/adit-1.2.3-linux-"+arch+"/install.sh "+args)
	}
	install("")
	install("--no-service --prefix /opt/other")
	install("--prefix /opt/other --uninstall")
	if state := b.property("ActiveState"); state != "active" {
		t.Errorf("the service of another installation is %s", state)
	}
	b.in(b.box, "/usr/local/bin/adit", "service", "uninstall")
	install("--uninstall")
	install("")
	if said, err := b.tryIn(b.box, "dpkg", "-i", "/root/adit_1.2.3_"+arch+".deb"); err == nil || !strings.Contains(said, "/usr/local/lib/adit/aditd") {
		t.Errorf("the package beside another installation: %v, %s", err, said)
	}
	if state := b.property("ActiveState"); state != "active" {
		t.Errorf("the service of the tarball is %s, where a package was refused", state)
	}
	if v := b.in(b.box, "/usr/local/bin/adit", "version"); strings.Count(v, " 1.2.3 ") != 2 {
		t.Errorf("where a package was refused, there are %s", v)
	}
	install("--prefix /usr/local/ --uninstall")
	if state := b.property("LoadState"); state != "not-found" {
		t.Errorf("the service is %s after its removal", state)
	}
	install("--no-service")
	b.in(b.box, "unshare", "--mount", "sh", "-c", "mount -t tmpfs run /run && /root/adit-1.2.3-linux-"+arch+"/install.sh --uninstall") // as if without systemd
	for f := range b.files() {
		if strings.Contains(f, "/usr/local/") && strings.Contains(f, "adit") {
			t.Errorf("left: %s", f)
		}
	}
}

// kernelExample makes of the packaged example what an administrator makes who wants the system's own network.
var kernelExample = strings.NewReplacer("network: userspace", "network: kernel", "10.98.0.0/24", "192.168.10.0/24",
	"{id: demo, ", "{id: office, address: 192.168.10.2, interface: eth0, ", "subnet: demo", "subnet: office")

// TestRPMPackage: rpm itself, which Debian has, too, runs the scripts of the rpm: at the first installation, at an upgrade while
// connected, and at the removal.
func TestRPMPackage(t *testing.T) {
	t.Parallel()
	needs(t, "rpm", "ldd")
	b := debBox(t)
	b.rpmTool()
	arch := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	b.has("adit-1.2.3-1."+arch+".rpm", "adit-1.3.0-1."+arch+".rpm")
	before, machine := b.files(), b.machine()
	// Its dependencies are libraries of a system of rpms, which this is not.
	b.in(b.box, "rpm", "-i", "--nodeps", "/root/adit-1.2.3-1."+arch+".rpm")
	if state, enabled := b.property("ActiveState"), b.property("UnitFileState"); state != "active" || enabled != "enabled" {
		t.Fatalf("the unit is %s, %s", state, enabled)
	}
	b.in(b.box, "getent", "group", "adit")
	b.connectLab()
	b.seen(webAddr, endpointSeen)
	pid, gap := b.property("MainPID"), b.gaps()
	b.in(b.box, "rpm", "-U", "--nodeps", "/root/adit-1.3.0-1."+arch+".rpm")
	b.until(soon, "the new service is connected", func() bool { return b.property("MainPID") != pid && b.lab().State == api.Connected })
	b.seen(webAddr, endpointSeen)
	if lost := gap(); lost > 5*time.Second {
		t.Errorf("the tunnel was away for %v", lost)
	}
	if v := b.in(b.box, "adit", "version"); !strings.Contains(v, "aditd  1.3.0 ") {
		t.Errorf("the service is another one: %s", v)
	}
	b.failed()
	b.in(b.box, "rpm", "-U", "--oldpackage", "--nodeps", "/root/adit-1.2.3-1."+arch+".rpm")
	b.until(soon, "the other service is connected, where one had failed", func() bool { return b.lab().State == api.Connected })
	b.in(b.box, "rpm", "-e", "adit")
	b.same("after the removal", machine, b.machine())
	b.seen(webAddr, clientSeen)
	b.in(b.box, "rm", "-r", "/var/lib/adit") // as docs/install/linux.md says
	d := slices.DeleteFunc(different(before, b.files()), func(f string) bool {
		return strings.HasPrefix(f, "new: d ") && !strings.Contains(f, "adit") // of the system, where it has rpm: /usr/share/fish
	})
	if len(d) > 0 {
		t.Errorf("removed, the machine differs:\n%s", strings.Join(d, "\n"))
	}
}

// rpmTool puts this machine's rpm into the box, which is the same Debian.
func (b *boxed) rpmTool() {
	b.t.Helper()
	tool, err := exec.LookPath("rpm")
	b.ok(err)
	libraries, err := exec.Command("ldd", tool).Output()
	b.ok(err)
	b.ok(b.box.Copy(tool, "/usr/bin/rpm", 0o755))
	for line := range strings.Lines(string(libraries)) {
		_, path, _ := strings.Cut(line, "=> ")
		path, _, _ = strings.Cut(path, " ")
		if !strings.HasPrefix(path, "/") {
			continue
		}
		if _, err := b.box.Read(path); err != nil {
			b.ok(b.box.Copy(path, path, 0o755))
		}
	}
	for _, name := range []string{"rpmrc", "macros"} {
		b.ok(b.box.Copy("/usr/lib/rpm/"+name, "/usr/lib/rpm/"+name, 0o644))
	}
}

// TestARM64: the programs for the other processor are programs, one of which opens a tunnel in user space, under an emulator.
func TestARM64(t *testing.T) {
	t.Parallel()
	needs(t, "qemu-aarch64-static", "curl")
	if runtime.GOARCH == "arm64" {
		t.Skip("every other test is for arm64 here")
	}
	s := &site{t: t, net: newNet(t)}
	n := s.node("machine")
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-ldflags=-X main.version=1.2.3", "-o", dir+"/", "../cmd/adit")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=arm64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	arm := func(args ...string) []string {
		return append([]string{"qemu-aarch64-static", filepath.Join(dir, "adit")}, args...)
	}
	if v := s.run(n, arm("version")...); !strings.Contains(v, "adit   1.2.3 (go") || !strings.Contains(v, "linux/arm64") {
		t.Errorf("it says %q", v)
	}
	endpoint := s.start(n, "adit-endpoint", bin(t, "adit-endpoint"), "up", "--data", filepath.Join(n.Dir, "data"))
	s.until(soon, "the endpoint is up", func() bool { return strings.Contains(endpoint.Out.String(), "listening on ") })
	client := s.start(n, "adit for arm64", arm("connect", filepath.Join(n.Dir, "data", "client.ovpn"), "--userspace", "--socks5", "127.0.0.1:1080")...)
	s.until(6*soon, "it is connected", func() bool { return strings.Contains(client.Out.String(), "connected ") })
	if page := s.run(n, "curl", "-sS", "--max-time", "30", "--socks5-hostname", "127.0.0.1:1080", "http://10.98.0.1/"); !strings.Contains(page, "10.64.0.") {
		t.Errorf("the page through the tunnel: %q", page)
	}
	s.terminate(client)
	s.terminate(endpoint)
}
