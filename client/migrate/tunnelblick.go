package migrate

import (
	"path"
	"slices"
	"strings"
)

const tblk = ".tblk"

// tunnelblick reads Tunnelblick's bundles: its installed ones, or those at a path.
func (f *finder) tunnelblick(at string) {
	var places []string
	switch {
	case at != "" && f.single:
		f.plain(bare(at, ".ovpn", ".conf"), f.s.name(at))
		return
	case at != "" && hasSuffix(at, tblk):
		f.bundle(f.s.name(at), 0)
		return
	case at != "":
		places = []string{f.s.name(at)}
	case f.s.OS == "darwin":
		places = []string{
			f.s.in(f.s.Home, "Library", "Application Support", "Tunnelblick", "Configurations"),
			"Library/Application Support/Tunnelblick/Shared",
		}
	}
	for _, dir := range places {
		if dir == "" {
			continue
		}
		f.looked = append(f.looked, f.s.native(dir))
		f.bundles(dir, 0)
	}
}

// bundles reads all bundles in dir and in the folders below.
func (f *finder) bundles(dir string, depth int) {
	f.walk(dir, depth, func(file string, folder bool) bool {
		if !folder || !hasSuffix(file, tblk) {
			return true
		}
		f.bundle(file, depth+1)
		return false
	})
}

// bundle reads one: its profile is in Contents/Resources, or lies in it directly; it may hold other bundles instead. What
// the profile refers to is beside it.
func (f *finder) bundle(dir string, depth int) {
	var profiles, scripts []string
	f.walk(dir, depth, func(file string, folder bool) bool {
		switch {
		case folder && hasSuffix(file, tblk):
			if depth < maxDepth {
				f.bundle(file, depth+1)
			}
			return false
		case !folder && hasSuffix(file, ".ovpn", ".conf"):
			profiles = append(profiles, file)
		case !folder && hasSuffix(file, ".sh"):
			scripts = append(scripts, path.Base(file))
		}
		return true
	})
	for _, file := range profiles {
		name := bare(dir, tblk)
		if len(profiles) > 1 {
			name += " " + bare(file, ".ovpn", ".conf")
		}
		f.plain(name, file)
		if len(scripts) > 0 && len(f.found) <= maxProfiles {
			p := &f.found[len(f.found)-1]
			p.Notes = append(p.Notes, "its scripts do not run here: "+strings.Join(slices.Compact(slices.Sorted(slices.Values(scripts))), ", "))
		}
	}
}
