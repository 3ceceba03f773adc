package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"html"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/gui/icon"
)

// source has what lies beside the programs.
const source = "installer/linux"

// appID is the desktop app's name (cmd/adit-gui).
const appID = "io.github.adit_vpn.Adit"

var errNotBuilt = errors.New("the program is not built")

// file is one file of a package: a copy of src, or a link to it.
type file struct {
	dst, src string
	mode     fs.FileMode
	kind     string // of nfpm: "" a file, "symlink", "dir", "config|noreplace"
}

// pack is one package of one processor, for deb or rpm.
type pack struct {
	name, arch           string
	summary, description string // of lines of at most 80 letters
	section              string // of Debian
	depends, recommends  []string
	suggests             []string
	scripts              bool // there are scripts of its name
	files                []file
}

// program is the path of a built one.
func (j *job) program(arch, name string) (string, error) {
	at := filepath.Join(j.bin, "linux-"+arch, name)
	if _, err := os.Stat(at); err != nil {
		return "", fmt.Errorf("%w: %s", errNotBuilt, at)
	}
	return at, nil
}

// pack says what a package is.
func (j *job) pack(name, kind, arch string) (pack, error) {
	p := pack{name: name, arch: arch}
	var programs []string
	switch name {
	case "adit":
		p.summary = "VPN client for AWS Client VPN and OpenVPN servers"
		p.description = "The service, which owns tunnels, routes, DNS and the guard, and the\ncommand line. It signs in by certificate, password, one-time code or browser."
		p.section = "net"
		p.recommends = []string{"xdg-utils"} // opens the browser of a sign-in
		p.suggests = []string{"adit-gui", "adit-endpoint"}
		p.scripts = true
		programs = []string{"adit", "adit-userspace", "adit-pkcs11", "aditd", "aws-vpn-client"}
		p.add("/usr/bin/adit", "../lib/adit/adit", "symlink")
		sbin := "/usr/sbin"
		if kind == "tree" {
			sbin = "/usr/bin" // Arch and Nix have no other
		}
		p.add(sbin+"/aditd", "../lib/adit/aditd", "symlink")
		p.add("/usr/lib/systemd/system/aditd.service", source+"/aditd.service", "")
		p.add("/usr/lib/sysusers.d/adit.conf", source+"/adit.sysusers", "")
		p.add("/usr/lib/tmpfiles.d/adit.conf", source+"/adit.tmpfiles", "")
		p.add("/etc/adit/profiles", "", "dir")
		p.add("/etc/adit", "", "dir")
		p.add("/usr/share/doc/adit/examples/policy.json", source+"/policy.json", "")
		for _, doc := range []string{"policy.md", "security.md", "known-issues.md"} {
			p.add("/usr/share/doc/adit/"+doc, "docs/"+doc, "")
		}
		p.add("/usr/share/man/man8/aditd.8.gz", source+"/man/aditd.8", "page")
		j.fromPages(&p, "adit", kind)
	case "adit-gui":
		p.summary = "desktop app of Adit, the VPN client"
		p.description = "A window and an icon in the tray: one click and one sign-in to the tunnel,\nand a glance at what goes through it. In English and Japanese."
		p.section = "net"
		// Its toolkit loads these when it starts (GLFW, x11_init.c), beside those that it is linked with.
		p.depends = []string{"adit (= " + j.version.Deb() + ")", "libxcursor1", "libxi6", "libxinerama1", "libxrandr2", "libxrender1", "libxxf86vm1"}
		p.recommends = []string{"xdg-utils"}
		p.suggests = []string{"adit-endpoint", "gnome-keyring"}
		if kind == "rpm" {
			p.depends = []string{"adit = " + j.version.RPM() + "-1"}
			for _, l := range []string{"libXcursor.so.1", "libXi.so.6", "libXinerama.so.1", "libXrandr.so.2", "libXrender.so.1", "libXxf86vm.so.1"} {
				p.depends = append(p.depends, l+"()(64bit)")
			}
		}
		programs = []string{"adit-gui"}
		p.add("/usr/bin/adit-gui", "../lib/adit/adit-gui", "symlink")
		p.add("/usr/share/applications/"+appID+".desktop", source+"/desktop/adit.desktop", "")
		p.add("/usr/share/mime/packages/"+appID+".xml", source+"/desktop/adit.mime.xml", "")
		p.add("/usr/share/man/man1/adit-gui.1.gz", source+"/man/adit-gui.1", "page")
		if err := j.art(&p); err != nil {
			return p, err
		}
	case "adit-endpoint":
		p.summary = "VPN endpoint that behaves as AWS Client VPN does"
		p.description = "The server for Adit and every OpenVPN client: with AWS's rules for networks,\nauthorization and sign-ins, and its EC2 API, for tests and small offices."
		p.section = "net"
		p.suggests = []string{"easy-rsa"}
		p.scripts = true
		programs = []string{"adit-endpoint"}
		p.add("/usr/bin/adit-endpoint", "../lib/adit/adit-endpoint", "symlink")
		p.add("/usr/lib/systemd/system/adit-endpoint.service", source+"/adit-endpoint.service", "")
		p.add("/usr/lib/sysusers.d/adit-endpoint.conf", source+"/adit-endpoint.sysusers", "")
		p.add("/etc/adit-endpoint", "", "dir")
		p.add("/etc/adit-endpoint/endpoint.yaml", source+"/endpoint.yaml", "config|noreplace")
		p.add("/usr/share/doc/adit-endpoint/endpoint.md", "docs/endpoint.md", "")
		j.fromPages(&p, "adit-endpoint", kind)
	}
	for _, program := range programs {
		at, err := j.program(arch, program)
		if err != nil {
			return p, err
		}
		p.files = append(p.files, file{"/usr/lib/adit/" + program, at, 0o755, ""})
		linked, err := libraries(at)
		if err != nil {
			return p, err
		}
		depends, err := linked.packages(kind)
		if err != nil {
			return p, fmt.Errorf("%s: %w", at, err)
		}
		p.depends = append(p.depends, depends...)
	}
	if kind == "deb" && p.scripts {
		p.depends = append(p.depends, "passwd") // groupadd, where there is no systemd
	}
	slices.Sort(p.depends)
	p.depends = slices.Compact(p.depends)
	return p, j.papers(&p, kind)
}

func (p *pack) add(dst, src, kind string) {
	mode := fs.FileMode(0o644)
	if kind == "dir" {
		mode = 0o755
	}
	p.files = append(p.files, file{dst, src, mode, kind})
}

// fromPages adds the manual pages and completions of a program. Those of adit-endpoint begin with adit-, too.
func (j *job) fromPages(p *pack, program, kind string) {
	pages, _ := filepath.Glob(filepath.Join(j.pagesDir(), "man1", "*.1")) // the pattern is good
	for _, page := range pages {
		name := filepath.Base(page)
		if strings.HasPrefix(name, "adit-endpoint") == (program == "adit-endpoint") {
			p.add("/usr/share/man/man1/"+name+".gz", page, "page")
		}
	}
	functions := "zsh/vendor-completions" // of Debian
	if kind != "deb" {
		functions = "zsh/site-functions"
	}
	for dst, src := range map[string]string{
		"bash-completion/completions/" + program:         "bash/" + program,
		functions + "/_" + program:                       "zsh/_" + program,
		"fish/vendor_completions.d/" + program + ".fish": "fish/" + program + ".fish",
	} {
		p.add("/usr/share/"+dst, filepath.Join(j.pagesDir(), src), "")
	}
}

// generated writes a file of a package into tmp.
func (j *job) generated(p *pack, dst string, text []byte) error {
	at := filepath.Join(j.tmp, p.name, dst)
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	p.add(dst, at, "")
	return os.WriteFile(at, text, 0o644)
}

// art draws the app's icons, and dates its entry for software centres.
func (j *job) art(p *pack) error {
	for _, size := range []int{16, 22, 24, 32, 48, 64, 128, 256, 512} {
		dst := fmt.Sprintf("/usr/share/icons/hicolor/%dx%d/apps/%s.png", size, size, appID)
		if err := j.generated(p, dst, icon.PNG(icon.Application(size))); err != nil {
			return err
		}
	}
	about, err := os.ReadFile(source + "/desktop/adit.metainfo.xml")
	if err != nil {
		return err
	}
	text := strings.NewReplacer("@VERSION@", html.EscapeString(j.version.Deb()), "@DATE@", j.date.Format(time.DateOnly)).Replace(string(about))
	return j.generated(p, "/usr/share/metainfo/"+appID+".metainfo.xml", []byte(text))
}

const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: Adit
Source: https://github.com/adit-vpn/adit

Files: *
Copyright: 2026 The Adit authors
License: Apache-2.0
 On Debian systems the text of this licence is in
 /usr/share/common-licenses/Apache-2.0.
`

// papers adds what every package has to tell: licences and changes. At last it squeezes the pages, as both systems do.
func (j *job) papers(p *pack, kind string) error {
	doc := "/usr/share/doc/" + p.name
	if kind == "deb" {
		entry := fmt.Sprintf("%s (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.gz beside this file.\n\n -- %s  %s\n",
			p.name, j.version.Deb(), maintainer, j.date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
		if err := errors.Join(
			j.generated(p, doc+"/copyright", []byte(copyright)),
			j.generated(p, doc+"/changelog.gz", squeezed([]byte(entry))),
			j.generated(p, "/usr/share/lintian/overrides/"+p.name, []byte(overrides[p.name])),
		); err != nil {
			return err
		}
	} else {
		p.add(path.Join("/usr/share/licenses", p.name, "LICENSE"), "LICENSE", "license")
		// rpm removes no folder that the package does not name.
		for _, dir := range []string{"/usr/lib/adit", doc, path.Join("/usr/share/licenses", p.name)} {
			p.add(dir, "", "dir")
		}
		if p.name == "adit" {
			p.add(doc+"/examples", "", "dir")
		}
	}
	changes, err := os.ReadFile("CHANGELOG.md")
	if err == nil {
		err = j.generated(p, doc+"/CHANGELOG.md.gz", squeezed(changes))
	}
	var notice []byte
	if err == nil {
		notice, err = os.ReadFile("NOTICE") // the licences of what the programs contain
	}
	if err == nil {
		err = j.generated(p, doc+"/NOTICE.gz", squeezed(notice))
	}
	pages := slices.Clone(p.files)
	p.files = slices.DeleteFunc(p.files, func(f file) bool { return f.kind == "page" })
	for _, f := range pages {
		if f.kind != "page" || err != nil {
			continue
		}
		var text []byte
		if text, err = os.ReadFile(f.src); err == nil {
			err = j.generated(p, f.dst, squeezed(text))
		}
	}
	slices.SortFunc(p.files, func(a, b file) int { return strings.Compare(a.dst, b.dst) })
	return err
}

// overrides are what lintian says and is meant so: Go links programs without libc, so that they run on every distribution, and those with
// libc at fixed addresses.
var overrides = map[string]string{
	"adit": `statically-linked-binary [usr/lib/adit/adit]
statically-linked-binary [usr/lib/adit/adit-userspace]
statically-linked-binary [usr/lib/adit/aditd]
statically-linked-binary [usr/lib/adit/aws-vpn-client]
hardening-no-pie [usr/lib/adit/adit-pkcs11]
hardening-no-relro [usr/lib/adit/adit-pkcs11]
`,
	"adit-gui":      "hardening-no-pie [usr/lib/adit/adit-gui]\n",
	"adit-endpoint": "statically-linked-binary [usr/lib/adit/adit-endpoint]\n",
}

// squeezed is gzip without a time.
func squeezed(text []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is good
	_, _ = w.Write(text)                                  // into memory
	_ = w.Close()
	return b.Bytes()
}
