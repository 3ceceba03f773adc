package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	homepage   = "https://github.com/adit-vpn/adit"
	maintainer = "The Adit authors <adit@users.noreply.github.com>"
)

// recipe is nfpm's file, as far as we use it (nfpm.goreleaser.com/configuration).
type recipe struct {
	Name            string            `yaml:"name"`
	Arch            string            `yaml:"arch"`
	Platform        string            `yaml:"platform"`
	Version         string            `yaml:"version"`
	VersionSchema   string            `yaml:"version_schema"`
	Release         string            `yaml:"release,omitempty"`
	Section         string            `yaml:"section"`
	Priority        string            `yaml:"priority"`
	Maintainer      string            `yaml:"maintainer"`
	Vendor          string            `yaml:"vendor"`
	Description     string            `yaml:"description"`
	Homepage        string            `yaml:"homepage"`
	License         string            `yaml:"license,omitempty"`
	DisableGlobbing bool              `yaml:"disable_globbing"`
	MTime           time.Time         `yaml:"mtime"`
	Depends         []string          `yaml:"depends,omitempty"`
	Recommends      []string          `yaml:"recommends,omitempty"`
	Suggests        []string          `yaml:"suggests,omitempty"`
	Contents        []content         `yaml:"contents"`
	Scripts         map[string]string `yaml:"scripts,omitempty"`
	RPM             map[string]string `yaml:"rpm"`
	Deb             map[string]string `yaml:"deb"`
}

type content struct {
	Src  string   `yaml:"src,omitempty"`
	Dst  string   `yaml:"dst"`
	Type string   `yaml:"type,omitempty"`
	Info fileInfo `yaml:"file_info"`
}

type fileInfo struct {
	Mode  int       `yaml:"mode,omitempty"`
	Owner string    `yaml:"owner"`
	Group string    `yaml:"group"`
	MTime time.Time `yaml:"mtime"`
}

// nfpm writes a package into out.
func (j *job) nfpm(p pack, kind string) error {
	r := recipe{
		Name: p.name, Arch: p.arch, Platform: "linux", VersionSchema: "none", Section: p.section, Priority: "optional",
		Maintainer: maintainer, Vendor: "Adit", Description: p.summary + "\n" + p.description, Homepage: homepage,
		DisableGlobbing: true, MTime: j.date, Depends: p.depends, Recommends: p.recommends, Suggests: p.suggests,
		RPM: map[string]string{"summary": p.summary, "group": "Applications/Internet", "buildhost": "localhost", "compression": j.squeeze["rpm"]},
		Deb: map[string]string{"compression": j.squeeze["deb"]},
	}
	target := ""
	if kind == "deb" {
		r.Version = j.version.Deb()
		target = fmt.Sprintf("%s_%s_%s.deb", p.name, r.Version, p.arch)
	} else {
		r.Version, r.Release = j.version.RPM(), "1"
		r.Description, r.License = p.description, "Apache-2.0" // Debian has the licence in a file alone
		target = fmt.Sprintf("%s-%s-1.%s.rpm", p.name, r.Version, map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[p.arch])
	}
	for _, f := range p.files {
		c := content{Src: f.src, Dst: f.dst, Type: f.kind, Info: fileInfo{Mode: int(f.mode), Owner: "root", Group: "root", MTime: j.date}}
		if f.kind != "symlink" && f.src != "" {
			at, err := filepath.Abs(f.src)
			if err != nil {
				return err
			}
			c.Src = at
		} else if f.kind == "symlink" {
			c.Info.Mode = 0o777
		}
		r.Contents = append(r.Contents, c)
	}
	if p.scripts {
		r.Scripts = map[string]string{}
		for of, name := range map[string]map[string]string{
			"deb": {"postinstall": "debian/" + p.name + ".postinst", "preremove": "debian/" + p.name + ".prerm", "postremove": "debian/" + p.name + ".postrm"},
			"rpm": {"postinstall": "rpm/" + p.name + ".post", "preremove": "rpm/" + p.name + ".preun", "postremove": "rpm/" + p.name + ".postun"},
		}[kind] {
			at, err := filepath.Abs(filepath.Join(source, name))
			if err != nil {
				return err
			}
			r.Scripts[of] = at
		}
		if p.name == "adit" {
			at, err := filepath.Abs(filepath.Join(source, "adit.before"))
			if err != nil {
				return err
			}
			r.Scripts["preinstall"] = at
		}
	}
	text, err := yaml.Marshal(r)
	if err != nil {
		return err
	}
	at := filepath.Join(j.tmp, fmt.Sprintf("%s-%s-%s.yaml", p.name, p.arch, kind))
	if err := os.WriteFile(at, text, 0o644); err != nil {
		return err
	}
	out, err := filepath.Abs(filepath.Join(j.out, target))
	if err != nil {
		return err
	}
	// SOURCE_DATE_EPOCH dates the package itself.
	return command("env", fmt.Sprintf("SOURCE_DATE_EPOCH=%d", j.date.Unix()), "go", "-C", "installer/nfpm", "tool", "nfpm", "package", "-f", at, "-p", kind, "-t", out)
}
