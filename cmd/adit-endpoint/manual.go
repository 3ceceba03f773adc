//go:build manual

package main

import (
	"os"

	"github.com/adit-vpn/adit/installer/linux/manual"
)

// With the tag manual this program does nothing but write the manual pages and completions of adit-endpoint.
func main() {
	root, _ := newRoot()
	os.Exit(manual.Main(root, os.Args[1:], "adit(1)"))
}
