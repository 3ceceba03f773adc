// Command build makes Adit's packages for Windows out of programs that are built already: a package for Windows Installer
// (MSI) of each architecture, a setup program for amd64 (NSIS), an archive (zip) of each, and a manifest for winget. It runs msibuild (msitools), gcab and
// makensis. The time in all of them is SOURCE_DATE_EPOCH, and what it makes depends on nothing else.
//
// It signs nothing by itself: with -sign PROGRAM it runs PROGRAM FILE for each file that Windows looks for a signature in.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/installer/version"
)

const usage = `usage: build -version VERSION -bin DIR [-gui FILE] [-wintun ZIP] [-text FILE]… [-sign PROGRAM] [-url URL] [-kinds LIST] -out DIR
`

// options are the command line's.
type options struct {
	version, bin, gui, wintun, sign, url, out string
	texts, kinds                              []string
	wintunSum                                 string // of wintun; nobody but a test chooses another
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := build(ctx, parse(os.Args[1:]))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build:", err)
		os.Exit(1)
	}
}

func parse(args []string) options {
	o := options{wintunSum: wintunSum}
	f := flag.NewFlagSet("build", flag.ExitOnError)
	f.Usage = func() { fmt.Fprint(os.Stderr, usage); f.PrintDefaults() }
	f.StringVar(&o.version, "version", "", "of the programs, as git describe writes it")
	f.StringVar(&o.bin, "bin", "", "directory with windows-amd64/ and windows-arm64/, as make dist makes them")
	f.StringVar(&o.gui, "gui", "", "adit-gui.exe for amd64, as make gui-windows makes it; without it there is no desktop app in the packages")
	f.StringVar(&o.wintun, "wintun", "", wintunName+" from wintun.net; without it the packages have no wintun.dll")
	f.Func("text", "a licence or a notice that is installed too", func(s string) error { o.texts = append(o.texts, s); return nil })
	f.StringVar(&o.sign, "sign", "", "program that signs the file which it gets as its argument (Authenticode)")
	f.StringVar(&o.url, "url", homePage+"/releases/download", "where a directory of this version will have the packages, for winget's manifest")
	o.kinds = allKinds()
	f.Func("kinds", "which packages to make, of msi,zip,setup,winget (which needs msi); default all", func(s string) error {
		o.kinds = strings.Split(s, ",")
		for _, k := range o.kinds {
			if !slices.Contains(allKinds(), k) {
				return fmt.Errorf("there is no kind %q", k)
			}
		}
		return nil
	})
	f.StringVar(&o.out, "out", "", "directory for the packages")
	_ = f.Parse(args) // it exits
	if f.NArg() > 0 || o.version == "" || o.bin == "" || o.out == "" {
		f.Usage()
		os.Exit(2)
	}
	return o
}

func allKinds() []string { return []string{"zip", "msi", "setup", "winget"} }

// build makes packages, and says which.
func build(ctx context.Context, o options) error {
	v, err := version.Parse(o.version)
	if err != nil {
		return err
	}
	at, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "adit-windows-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	s := signer{program: o.sign, dir: dir}
	release := manifest{version: v.String(), url: o.url}
	for _, arch := range []string{"amd64", "arm64"} {
		p := product{version: v.String(), number: v.MSI(), arch: arch}
		gui := o.gui
		if arch != "amd64" {
			gui = ""
		}
		var tun *wintunFiles
		if o.wintun != "" {
			sub := filepath.Join(dir, "wintun-"+arch)
			if err := os.Mkdir(sub, 0o755); err != nil {
				return err
			}
			if tun, err = openWintun(o.wintun, o.wintunSum, arch, sub); err != nil {
				return err
			}
		}
		if p.files, err = payload(filepath.Join(o.bin, "windows-"+arch), gui, tun, o.texts); err != nil {
			return err
		}
		if p.files, err = s.programs(ctx, p.files, arch); err != nil {
			return err
		}
		base := filepath.Join(o.out, fmt.Sprintf("adit-%s-windows-%s", v, arch))
		for _, kind := range o.kinds {
			var made string
			switch {
			case kind == "zip":
				made = base + ".zip"
				err = writeZip(made, p.files, at)
			case kind == "msi":
				made = base + ".msi"
				if err = writeMSI(ctx, p, made, at); err == nil {
					err = s.sign(ctx, made)
				}
				if err == nil {
					err = release.add(p, made)
				}
			case kind == "setup" && arch == "amd64":
				made = base + "-setup.exe"
				if err = writeSetup(ctx, p, made, o.sign, at); err == nil {
					err = s.sign(ctx, made)
				}
			default:
				continue
			}
			if err != nil {
				return err
			}
			fmt.Println(made)
		}
	}
	if !slices.Contains(o.kinds, "winget") {
		return nil
	}
	folder := filepath.Join(o.out, "winget")
	if err := release.write(folder); err != nil {
		return err
	}
	fmt.Println(folder)
	return nil
}

// sourceDate reads SOURCE_DATE_EPOCH (reproducible-builds.org): seconds since 1970. Without it the time is 1 January 2020: packages
// that only a machine of its own sees.
func sourceDate(s string) (time.Time, error) {
	if s == "" {
		return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	// Cabinets and zip archives count in steps of two seconds, from 1980 on.
	if err != nil || n < 315532800 || n > 4102444800 {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is no time between 1980 and 2100", s)
	}
	return time.Unix(n, 0).UTC(), nil
}
