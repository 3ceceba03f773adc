// Package version reads the versions of Adit, as git describe and people write them, and writes them as each kind of package
// wants them. It starts no goroutine and touches no file.
package version

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Version is one version; the zero value is 0.0.0. What is older and newer: Compare.
type Version struct {
	Major, Minor, Patch int
	// Pre and PreNumber are those of a preliminary version: 1.2.3-rc.1 has "rc" and 1. Empty: none.
	Pre       string
	PreNumber int
	// Commits since the tag, and the last of them ("abc1234"). Both empty at a tag.
	Commits int
	Commit  string
	// Dirty: files were changed after the commit, or nobody knows which commit it is.
	Dirty bool
}

// The largest numbers are those of Windows Installer (learn.microsoft.com, "ProductVersion property").
const (
	maxMajor, maxMinor, maxPatch = 255, 255, 65535
	maxLength                    = 80 // bytes
)

var (
	// described is a tag, and what git describe adds. A preliminary version has one word and one number, since that is what
	// dpkg, rpm and semver.org order alike.
	described = form(`^v?([0-9]{1,5})\.([0-9]{1,5})\.([0-9]{1,5})(?:-([a-z]{1,12})\.([0-9]{1,5}))?(?:-([0-9]{1,7})-g([0-9a-f]{4,40}))?(-dirty)?$`)
	untagged  = form(`^([0-9a-f]{4,40})(-dirty)?$`)
)

// form is a pattern that is compiled when the first version is read: most commands read none, and their start would pay for it.
func form(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// Parse reads 1.2.3, v1.2.3-rc.1, either with what git describe adds (v1.2.3-4-gabc1234, v1.2.3-dirty), and what it says
// without a tag (abc1234), which is 0.0.0 at that commit. "dev" and "devel", of programs that were linked without a version,
// are 0.0.0 of an unknown commit.
func Parse(s string) (Version, error) {
	bad := func(why string) (Version, error) {
		if len(s) > maxLength {
			s = s[:maxLength] + "…"
		}
		return Version{}, fmt.Errorf("version %q: %s", s, why)
	}
	if s == "dev" || s == "devel" {
		return Version{Dirty: true}, nil
	}
	if len(s) > maxLength {
		return bad("is too long")
	}
	if m := untagged().FindStringSubmatch(s); m != nil {
		return Version{Commit: m[1], Dirty: m[2] != ""}, nil
	}
	m := described().FindStringSubmatch(s)
	if m == nil {
		return bad("is not like 1.2.3, 1.2.3-rc.1 or what git describe makes of them")
	}
	v := Version{
		Major: number(m[1]), Minor: number(m[2]), Patch: number(m[3]), Pre: m[4], PreNumber: number(m[5]),
		Commits: number(m[6]), Commit: m[7], Dirty: m[8] != "",
	}
	if v.Major > maxMajor || v.Minor > maxMinor || v.Patch > maxPatch {
		return bad(fmt.Sprintf("Windows Installer takes numbers up to %d.%d.%d", maxMajor, maxMinor, maxPatch))
	}
	return v, nil
}

// number reads digits that the expression has counted.
func number(digits string) int {
	n, _ := strconv.Atoi(digits) // empty is 0
	return n
}

// String writes what Parse reads, without a v.
func (v Version) String() string {
	s := v.three()
	if v.Pre != "" {
		s += fmt.Sprintf("-%s.%d", v.Pre, v.PreNumber)
	}
	if v.Commit != "" {
		s += fmt.Sprintf("-%d-g%s", v.Commits, v.Commit)
	}
	if v.Dirty {
		s += "-dirty"
	}
	return s
}

// Deb is the version of a Debian package, without a revision (Debian Policy 5.6.12): 1.2.3~rc.1 sorts before 1.2.3, and
// 1.2.3+4.gabc1234 after it.
func (v Version) Deb() string { return v.linux() }

// RPM is the Version of an RPM package, whose Release is another field (rpm-version(7)). It sorts as Deb does.
func (v Version) RPM() string { return v.linux() }

func (v Version) linux() string {
	s := v.three()
	if v.Pre != "" {
		s += fmt.Sprintf("~%s.%d", v.Pre, v.PreNumber)
	}
	switch {
	case v.Commit != "" && v.Dirty:
		s += fmt.Sprintf("+%d.g%s.dirty", v.Commits, v.Commit)
	case v.Commit != "":
		s += fmt.Sprintf("+%d.g%s", v.Commits, v.Commit)
	case v.Dirty:
		s += "+0.dirty"
	}
	return s
}

// MSI is a ProductVersion. Windows Installer looks at three numbers alone, so that preliminary versions and those between two
// tags have the number of their release: an installer must let the same number replace itself.
func (v Version) MSI() string { return v.three() }

// Pkg is the version of a macOS package and bundle (CFBundleVersion has three numbers): that of MSI.
func (v Version) Pkg() string { return v.three() }

func (v Version) three() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// Compare is negative when v is older than w, positive when it is newer, and 0 when nothing tells: two builds with as
// many commits since the same tag may be of different commits.
func (v Version) Compare(w Version) int {
	return cmp.Or(
		cmp.Compare(v.Major, w.Major), cmp.Compare(v.Minor, w.Minor), cmp.Compare(v.Patch, w.Patch),
		comparePre(v, w), cmp.Compare(v.Commits, w.Commits),
	)
}

// comparePre orders preliminary versions before their release.
func comparePre(v, w Version) int {
	if v.Pre == "" || w.Pre == "" {
		return -strings.Compare(v.Pre, w.Pre)
	}
	return cmp.Or(strings.Compare(v.Pre, w.Pre), cmp.Compare(v.PreNumber, w.PreNumber))
}
