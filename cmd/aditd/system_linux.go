package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/platform/svc"
)

// stateDir is where profiles, wishes and the journal are by default.
func stateDir() (string, error) { return "/var/lib/adit", nil }

// systemPolicy is where the administrator decides by default.
func systemPolicy() (decisions, error) { return policyIn("/etc/adit/policy.json") }

// managed says whether a service manager that wants answers runs this: systemd takes a program in the foreground.
func managed([]string) (code int, was bool) { return 0, false }

// answers tells systemd that the service does.
func answers() error { return svc.Ready() }

// ownLog is the journal's, which bounds itself.
func ownLog(stderr *os.File) io.Writer { return stderr }

// provisioning is for Windows' installers: here a package of one's own, or any tool, puts files into a folder.
func provisioning(string) (target, error) {
	return target{}, &hinted{errors.New("provision is for Windows alone"), "put the policy into /etc/adit/policy.json and profiles into /etc/adit/profiles; look at them before with --check"}
}

// forgetPolicy leaves /etc/adit to whoever wrote it.
func forgetPolicy(string) (stays bool, err error) { return false, nil }

// handoverFile is in the directory that systemd keeps while it starts the service again (RuntimeDirectory,
// RuntimeDirectoryPreserve), which is in memory; empty elsewhere.
func handoverFile(string) string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); filepath.IsAbs(dir) && !strings.Contains(dir, ":") {
		return filepath.Join(dir, "handover")
	}
	return ""
}

// restarting says whether systemd will start the service that is told to end again at once.
func restarting(ctx context.Context) bool { return svc.Restarting(ctx) }
