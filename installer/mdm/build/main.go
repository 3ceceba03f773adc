// Command build writes the templates for management tools (package mdm) into a folder.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/installer/mdm"
)

func main() {
	out := flag.String("out", "dist/mdm", "`folder` to write into; what is generated there replaces what has its name")
	policy := flag.String("policy", "", "`file` with a policy as in /etc/adit/policy.json, to be written in all forms (default an example with every key)")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := build(*out, *policy); err != nil {
		fmt.Fprintln(os.Stderr, "mdm:", err)
		os.Exit(1)
	}
}

func build(out, policy string) error {
	settings, err := mdm.Example()
	if policy != "" {
		text, failed := os.ReadFile(policy)
		if failed != nil {
			return failed
		}
		if settings, err = mdm.Settings(text); err != nil {
			err = fmt.Errorf("%s: %w", policy, err)
		}
	}
	if err != nil {
		return err
	}
	files, err := mdm.Files(settings)
	if err != nil {
		return err
	}
	for _, f := range files {
		name := filepath.Join(out, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, f.Text, 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("%s: %d files\n", out, len(files))
	return nil
}
