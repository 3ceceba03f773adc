// Package linux is what Adit puts into a Linux system, as data: packages and "adit service install" take the same from it.
package linux

import (
	_ "embed"
	"fmt"
	"path"
	"strings"
)

// Names of what is installed.
const (
	// UnitName is that of the service, for systemd.
	UnitName = "aditd.service"
	// Program is the service in packages.
	Program = "/usr/lib/adit/aditd"
)

//go:embed aditd.service
var unit string

// Unit is the text of the systemd unit that runs the service at program, an absolute path. It refuses what
// systemd would not read as one plain word (systemd.service(5), "Command lines").
func Unit(program string) (string, error) {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._+-", r)
	}
	if !path.IsAbs(program) || path.Clean(program) != program || strings.TrimFunc(program, plain) != "" || strings.ContainsFunc(program, func(r rune) bool { return !plain(r) }) {
		return "", fmt.Errorf("a unit cannot name %q: it takes absolute paths of letters, digits and ._+-", program)
	}
	return strings.Replace(unit, "ExecStart="+Program+"\n", "ExecStart="+program+"\n", 1), nil
}
