//go:build manual

package main

import (
	"os"

	"github.com/adit-vpn/adit/installer/linux/manual"
)

// With the tag manual this program does nothing but write the manual pages and completions of adit: go run -tags manual
// ./cmd/adit DIR VERSION SECONDS.
func main() {
	root := newRoot(&app{}, func(string) string { return "" })
	os.Exit(manual.Main(root, os.Args[1:], "aditd(8)", "adit-gui(1)", "adit-endpoint(1)"))
}
