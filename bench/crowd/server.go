//go:build linux

package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed endpoint.yaml
var endpointConfig string

//go:embed openvpn.conf
var openvpnConfig string

// serve starts the server and waits until it listens.
func (s *site) serve(kind, program string) error {
	text, word := endpointConfig, "listening on"
	if kind == openvpnName {
		text, word = openvpnConfig, "Initialization Sequence Completed"
	}
	t, err := template.New(kind).Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	err = t.Execute(&b, map[string]any{
		"Dir": s.server.Dir, "CA": s.pki.CAFile(), "Cert": s.pki.CertFile("server"), "Key": s.pki.KeyFile("server"), "WrapKey": s.wrapFile(), "Port": port,
	})
	if err != nil {
		return err
	}
	config := filepath.Join(s.server.Dir, "server.conf")
	if err := os.WriteFile(config, b.Bytes(), 0o600); err != nil {
		return err
	}
	argv := []string{program, "up", "--config", config}
	if kind == openvpnName {
		argv = []string{program, "--config", config}
	}
	if s.daemon, err = s.server.Start(argv...); err != nil {
		return err
	}
	return s.daemon.WaitFor(word, soon)
}

// memory is what a process has resident, now and at its highest, in bytes (proc_pid_status(5)).
func memory(pid int) (now, highest int64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	if now, err = statusLine(string(text), "VmRSS:"); err != nil {
		return 0, 0, err
	}
	highest, err = statusLine(string(text), "VmHWM:")
	return now, highest, err
}

// statusLine reads "name  123 kB".
func statusLine(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("the process's status has no %s", name)
}

// tick is the unit of processor time (proc_pid_stat(5)).
const tick = time.Second / 100

// used is the processor time of a process, kernel included.
func used(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseUsed(string(text))
}

// parseUsed reads the fields utime and stime, which come after the program's name in brackets.
func parseUsed(text string) (time.Duration, error) {
	if f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:]); len(f) > 12 {
		user, err := strconv.ParseInt(f[11], 10, 64)
		system, err2 := strconv.ParseInt(f[12], 10, 64)
		return time.Duration(user+system) * tick, errors.Join(err, err2)
	}
	return 0, errors.New("the process's stat has too few fields")
}
