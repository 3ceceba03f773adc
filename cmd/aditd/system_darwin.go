package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/adit-vpn/adit/client"
	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/platform/logfile"
	prefs "github.com/adit-vpn/adit/platform/managed"
	"github.com/adit-vpn/adit/platform/trusted"
)

// stateDir is where profiles, wishes and the journal are by default.
func stateDir() (string, error) { return "/var/db/adit", nil }

// systemPolicy is where the administrator decides by default: the preferences that a configuration profile for the machine
// manages, which macOS writes as root; on a machine that nobody manages, a file beside the service's state (a path without
// links: /var is one).
func systemPolicy() (decisions, error) {
	const folder, file = "/Library/Managed Preferences", "com.adit.client.plist"
	store := prefs.Preferences{Files: trusted.Dir(folder), Name: file}
	own := client.PolicyFile(trusted.Dir("/private/var/db/adit"), "policy.json", "/var/db/adit/policy.json")
	return decisions{
		policy:   client.PolicyFirst(client.PolicyValues(store, folder+"/"+file), own),
		profiles: trusted.Dir("/Library/Application Support/Adit/Profiles"),
	}, nil
}

// managed says whether a service manager that wants answers runs this: launchd does not.
func managed([]string) (code int, was bool) { return 0, false }

// answers tells nobody that the service does: launchd does not ask.
func answers() error { return nil }

// provisioning is for Windows' installers: here management tools have configuration profiles.
func provisioning(string) (target, error) {
	return target{}, &hinted{errors.New("provision is for Windows alone"), "give the policy as a configuration profile, and put profiles into /Library/Application Support/Adit/Profiles; look at them before with --check"}
}

// forgetPolicy leaves managed preferences to whoever manages them.
func forgetPolicy(string) (stays bool, err error) { return false, nil }

// handoverFile is beside the note of restarting, and the socket: root's directory, which is empty after a start of the machine.
func handoverFile(string) string { return filepath.Join(filepath.Dir(darwin.Restart), "handover") }

// restarting says whether the script of a package (installer/darwin) stops the service to start it again at once. launchd does
// not tell.
func restarting(context.Context) bool { return os.Remove(darwin.Restart) == nil }

// ownLog keeps what launchd has opened for the log small, and away from all but administrators: launchd makes it readable for all, and names
// of servers and users are in it.
func ownLog(stderr *os.File) io.Writer {
	l, err := logfile.Own(stderr, darwin.Log, logfile.Limits{Bytes: darwin.LogBytes, Old: darwin.OldLogs, Mode: 0o640, GID: darwin.Admin})
	if err != nil {
		fmt.Fprintln(stderr, "aditd: the log is not kept small:", err)
	}
	if l == nil { // a terminal, or whatever else somebody has given
		return stderr
	}
	return l
}
