//go:build linux

package lab

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// TestConnectionLog: Debian's openvpn and ours come and go, and the connection log has what AWS's has, with openvpn's own
// count of what went through; a log that an administrator moves away goes on in a new file after a SIGHUP.
func TestConnectionLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.ok(s.server.Forward())
	s.ok(s.host.Route("", serverInner.String()))
	p := newPKI(t)
	config := s.yaml(p, "", endpointConfig{Rules: vpcRules(), More: "connection_log: {file: log/connections.jsonl, max_size: 1, keep: 2}"})
	out, err := s.try(s.server, bin(t, "adit-endpoint"), "up", "--config", s.write(s.server, "endpoint.yaml", config))
	if err == nil || !strings.Contains(out+err.Error(), "connection_log: ") || !strings.Contains(out+err.Error(), "connections.jsonl") {
		t.Errorf("a folder that is not there: %v %s", err, out)
	}
	file := filepath.Join(s.server.Dir, "log", "connections.jsonl")
	s.ok(os.Mkdir(filepath.Dir(file), 0o700))
	up := s.endpointUp(config)
	read := func(name string, n int) (out []map[string]string) {
		t.Helper()
		s.until(soon, strconv.Itoa(n)+" lines in "+filepath.Base(name), func() bool {
			b, err := os.ReadFile(name)
			return err == nil && strings.Count(string(b), "\n") == n
		})
		for line := range strings.Lines(s.read(name)) {
			var e map[string]string
			s.ok(json.Unmarshal([]byte(line), &e))
			out = append(out, e)
		}
		return out
	}

	stock := s.openvpn(s.client, clientProfile(p, "udp", "plain", "", "explicit-exit-notify 1"))
	s.ok(stock.WaitFor("Initialization Sequence Completed", soon))
	for range 3 {
		s.reaches(s.client, none, hostAddr)
	}
	s.ok(stock.Cmd.Process.Signal(syscall.SIGUSR2)) // it says what it took from the device, and gave to it
	s.ok(stock.WaitFor("TUN/TAP write bytes,", soon))
	counted := func(what string) (n int) {
		m := regexp.MustCompile(what + `,(\d+)`).FindStringSubmatch(stock.Out.String())
		if m != nil {
			n, _ = strconv.Atoi(m[1])
		}
		return n
	}
	taken, given := counted("TUN/TAP read bytes"), counted("TUN/TAP write bytes")
	stock.Stop(syscall.SIGTERM, soon)
	list := read(file, 2)
	for i, e := range list {
		if want := []string{"connection-attempt", "connection-reset"}[i]; e["connection-log-type"] != want || e["common-name"] != "alice" || e["device-type"] != "linux" ||
			e["device-ip"] != "198.51.100.2" || e["transport-protocol"] != "udp" || e["connection-id"] != list[0]["connection-id"] {
			t.Errorf("entry %d: %v", i, e)
		}
	}
	for key, counted := range map[string]int{"ingress-bytes": taken, "egress-bytes": given} {
		if n, err := strconv.Atoi(list[1][key]); err != nil || counted == 0 || n < counted || n > counted+2000 { // the kernel may have sent some more since
			t.Errorf("%s is %s, and openvpn counted %d before the end", key, list[1][key], counted)
		}
	}

	s.ok(os.Rename(file, file+".moved"))
	s.ok(up.Cmd.Process.Signal(syscall.SIGHUP))
	s.until(soon, "a new file", func() bool { _, err := os.Stat(file); return err == nil })
	s.aditd()
	s.connect(clientProfile(p, "udp", "plain", ""))
	s.reaches(s.client, none, hostAddr)
	s.adit("disconnect", "lab")
	if list := read(file, 2); list[0]["connection-attempt-status"] != "successful" || list[1]["connection-end-time"] == "NA" || list[0]["device-type"] != "linux" {
		t.Errorf("%v", list)
	}
	read(file+".moved", 2)
}
