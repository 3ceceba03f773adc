// Command build makes the packages of macOS on any system, out of programs that are built already:
//
//	build app -version 1.2.3 -o dist/Adit.app bin/adit-gui          the app, out of its program
//	build pkg -version 1.2.3 -bin dist/bin -pages P -o dist/packages LICENSE   every package; texts go beside the programs
//	build list dist/packages/Adit-1.2.3.pkg                         what is in a package, after checking it
//
// Programs are read from darwin-amd64 and darwin-arm64 below -bin, and joined; manual pages and completions from -pages, as the
// programs write them with the tag manual. Files are dated SOURCE_DATE_EPOCH, so that the same
// programs make the same packages.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/darwin/flat"
	"github.com/adit-vpn/adit/installer/version"
)

const usage = `usage: build app -version V -o APP PROGRAM...
       build pkg -version V -bin DIRECTORY -pages DIRECTORY [-app APP] -o DIRECTORY [TEXT...]
       build list PACKAGE
`

func main() {
	err := run(os.Args[1:], os.Getenv("SOURCE_DATE_EPOCH"), os.Stdout)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return
	}
	fmt.Fprintln(os.Stderr, "installer/darwin/build:", err)
	if errors.As(err, new(wrongUsage)) {
		os.Exit(2)
	}
	os.Exit(1)
}

// wrongUsage is an error in the command line.
type wrongUsage struct{ error }

func run(args []string, epoch string, stdout io.Writer) error {
	if len(args) == 0 {
		return wrongUsage{errors.New("app, pkg or list is missing\n" + usage)}
	}
	flags := flag.NewFlagSet("build "+args[0], flag.ContinueOnError)
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	text := flags.String("version", "", "of the programs")
	bin := flags.String("bin", "", "where darwin-amd64 and darwin-arm64 are")
	pages := flags.String("pages", "", "where the manual pages and completions are")
	app := flags.String("app", "", "the app's directory, if there is one")
	out := flags.String("o", "", "what to make")
	if err := flags.Parse(args[1:]); err != nil {
		return wrongUsage{err}
	}
	switch args[0] {
	case "app", "pkg":
	case "list":
		if flags.NArg() != 1 || flags.NFlag() != 0 {
			return wrongUsage{errors.New("list takes one package\n" + usage)}
		}
		return list(flags.Arg(0), stdout)
	default:
		return wrongUsage{fmt.Errorf("%q is neither app, pkg nor list\n%s", args[0], usage)}
	}

	v, err := version.Parse(*text)
	if err != nil {
		return wrongUsage{err}
	}
	if *out == "" {
		return wrongUsage{errors.New("-o is missing: what to make")}
	}
	if args[0] == "app" {
		if flags.NArg() == 0 || !strings.HasSuffix(*out, ".app") {
			return wrongUsage{errors.New("app takes a program, and -o NAME.app\n" + usage)}
		}
		return makeApp(*out, v, flags.Args())
	}
	if *bin == "" {
		return wrongUsage{errors.New("-bin is missing: where make dist has put the programs")}
	}
	if *pages == "" {
		return wrongUsage{errors.New("-pages is missing: where the manual pages and completions are")}
	}
	seconds, err := strconv.ParseUint(epoch, 10, 32)
	if err != nil {
		return wrongUsage{fmt.Errorf("SOURCE_DATE_EPOCH is %q, and not the seconds since 1970 that files are dated with", epoch)}
	}
	texts := map[string][]byte{}
	for _, file := range flags.Args() {
		if texts[filepath.Base(file)], err = os.ReadFile(file); err != nil {
			return err
		}
	}
	return makePackages(input{version: v, bin: *bin, app: *app, pages: *pages, texts: texts, at: time.Unix(int64(seconds), 0)}, *out)
}

// makePackages writes the packages of the parts that there are, and one with all of them.
func makePackages(in input, dir string) error {
	parts, err := in.parts()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	stamp := flat.Stamp{Version: in.version.Pkg(), At: in.at}
	files := map[string][]byte{}
	for _, p := range parts {
		if files[p.Short+"-"+in.version.String()+".pkg"], err = flat.Component(p, stamp); err != nil {
			return fmt.Errorf("%s: %w", p.ID, err)
		}
	}
	if files["Adit-"+in.version.String()+".pkg"], err = flat.Product("com.adit", "Adit", parts, stamp); err != nil {
		return err
	}
	for name, b := range files {
		if _, err := flat.Read(b); err != nil {
			return fmt.Errorf("%s was not made well: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// program reads a program for both processors, and joins it.
func (in input) program(name string) (program, error) {
	var thin [][]byte
	for _, cpu := range []string{"amd64", "arm64"} {
		file := filepath.Join(in.bin, "darwin-"+cpu, name)
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return program{}, fmt.Errorf("%s is missing; make dist makes it", file)
		}
		if err != nil {
			return program{}, err
		}
		thin = append(thin, b)
	}
	return join(name, thin)
}

// list says what a package installs, once it is sure that its halves agree.
func list(file string, w io.Writer) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	all, err := flat.Read(b)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, c := range all {
		fmt.Fprintf(w, "%s %s, %d files, %d KiB\n", c.ID, c.Version, len(c.Files), c.KBytes)
		for _, e := range c.Scripts {
			if !e.Mode.IsDir() {
				fmt.Fprintf(w, "  runs or uses %s\n", e.Path)
			}
		}
		for _, e := range c.Files {
			target := ""
			if e.Target != "" {
				target = " -> " + e.Target
			}
			fmt.Fprintf(w, "  %v %d/%d %9d %s%s\n", e.Mode, e.UID, e.GID, len(e.Data), path.Join("/", e.Path), target)
		}
	}
	return nil
}
