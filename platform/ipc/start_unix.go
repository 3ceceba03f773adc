//go:build unix

package ipc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// StartCommand tells a person how to start the service: by the system's manager where it is installed there, else the
// program that lies beside this one, as in a source tree.
func StartCommand() string {
	self, err := os.Executable()
	if err != nil {
		self = ""
	}
	return startCommand(self, definitions, managed, exec.LookPath)
}

func startCommand(self string, definitions []string, managed string, look func(string) (string, error)) string {
	const service = "aditd"
	there := func(file string) bool { info, err := os.Stat(file); return err == nil && !info.IsDir() }
	for _, d := range definitions {
		if there(d) {
			return managed
		}
	}
	beside := filepath.Join(filepath.Dir(self), service)
	if found, err := look(service); self == "" || !there(beside) || err == nil && found == beside {
		return "sudo " + service
	}
	if strings.ContainsFunc(beside, func(r rune) bool { return r <= ' ' || strings.ContainsRune("'\"$&|;<>()*?[]\\`", r) }) {
		beside = "'" + strings.ReplaceAll(beside, "'", `'\''`) + "'"
	}
	return "sudo " + beside
}
