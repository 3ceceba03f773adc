// Command build makes the packages of Linux out of programs that are built: deb and rpm by nfpm, and tarballs. What is in them, and
// what they need, is in packages.go; the files beside the programs are in the directory above.
//
//	go run ./installer/linux/build -version 1.2.3 -bin dist/bin -out dist/packages
//
// It runs in the project's root, and starts go for the manual pages and for nfpm. The same programs and SOURCE_DATE_EPOCH make the
// same bytes.
package main

import (
	"compress/gzip"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/version"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return
		}
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

// job is what is asked for.
type job struct {
	version       version.Version
	date          time.Time         // in the files
	bin, out, tmp string            // directories
	squeeze       map[string]string // how deb and rpm are compressed
	level         int               // of gzip, for tarballs
}

// formats are the kinds of package, and packageNames what deb and rpm are made of; a tarball has all but the desktop app.
var (
	formats      = []string{"deb", "rpm", "tar", "tree"}
	packageNames = []string{"adit", "adit-gui", "adit-endpoint"}
)

func run(args []string) (err error) {
	var j job
	flags := flag.NewFlagSet("build", flag.ContinueOnError)
	of := flags.String("version", "dev", "as installer/version reads it")
	flags.StringVar(&j.bin, "bin", "dist/bin", "has linux-amd64 and linux-arm64 with the programs")
	flags.StringVar(&j.out, "out", "dist/packages", "where the packages go")
	quick := flags.Bool("quick", false, "compress little: packages for tests")
	arches := flags.String("arch", "amd64,arm64", "processors")
	kinds := flags.String("formats", "deb,rpm,tar", "kinds of package; tree lays their files out, for systems that pack them themselves")
	names := flags.String("packages", strings.Join(packageNames, ","), "packages of deb and rpm; adit-gui is left out for a processor for which it is not built")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if j.version, err = version.Parse(*of); err != nil {
		return err
	}
	if j.date, err = epoch(os.Getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	// What the oldest systems of use read: Debian 11 and RHEL 8.
	j.squeeze, j.level = map[string]string{"deb": "xz", "rpm": "zstd"}, gzip.BestCompression
	if *quick {
		j.squeeze, j.level = map[string]string{"deb": "none", "rpm": "gzip:1"}, gzip.NoCompression
	}
	for flag, list := range map[string][2][]string{
		"-arch":     {strings.Split(*arches, ","), {"amd64", "arm64"}},
		"-formats":  {strings.Split(*kinds, ","), formats},
		"-packages": {strings.Split(*names, ","), packageNames},
	} {
		for _, s := range list[0] {
			if !slices.Contains(list[1], s) {
				return fmt.Errorf("%s: there is no %q: use %s", flag, s, strings.Join(list[1], ", "))
			}
		}
	}
	if j.tmp, err = os.MkdirTemp("", "adit-packages-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(j.tmp)) }()
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	if err := j.pages(); err != nil {
		return err
	}
	for _, arch := range strings.Split(*arches, ",") {
		for _, kind := range strings.Split(*kinds, ",") {
			if err := j.format(kind, arch, strings.Split(*names, ",")); err != nil {
				return fmt.Errorf("%s for %s: %w", kind, arch, err)
			}
		}
	}
	return nil
}

// epoch is the time in SOURCE_DATE_EPOCH (reproducible-builds.org), or that of the last commit.
func epoch(s string) (time.Time, error) {
	if s == "" {
		out, err := exec.Command("git", "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH is not set, and git does not know the last commit: %w", err)
		}
		s = strings.TrimSpace(string(out))
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q are no seconds since 1970", s)
	}
	return time.Unix(n, 0).UTC(), nil
}

// pages lets the programs' sources write manual pages and completions into tmp/pages.
func (j *job) pages() error {
	for _, program := range []string{"adit", "adit-endpoint"} {
		err := command("go", "run", "-tags", "manual", "./cmd/"+program, j.pagesDir(), j.version.String(), strconv.FormatInt(j.date.Unix(), 10))
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *job) pagesDir() string { return filepath.Join(j.tmp, "pages") }

// format makes one kind of package for one processor.
func (j *job) format(kind, arch string, names []string) error {
	if kind == "tar" {
		return j.tarball(arch)
	}
	for _, name := range names {
		p, err := j.pack(name, kind, arch)
		if errors.Is(err, errNotBuilt) && name == "adit-gui" {
			fmt.Fprintf(os.Stderr, "build: left out adit-gui for %s: %v\n", arch, err)
			continue
		}
		switch {
		case err != nil:
		case kind == "tree":
			err = j.tree(p)
		default:
			err = j.nfpm(p, kind)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// command runs a tool that prints only what is wrong.
func command(name string, args ...string) error {
	cmd := exec.Command(name, args...)
	// What is run here is run on this machine, whatever the packages are for.
	cmd.Env = append(os.Environ(), "GOOS=", "GOARCH=", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
