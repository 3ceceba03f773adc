//go:build linux

package lab

import (
	"bufio"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestBanner: the longest banner that AWS allows reaches our client, and the program that stands behind openvpn's
// management interface, as the commands that OpenVPN GUI understands; a new text comes with the next session.
func TestBanner(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	p := newPKI(t)
	c := cell{Peers: openVPNToAdit, Transport: "udp", Wrap: "plain", Cipher: "AES-256-GCM", NCP: "ncp"}
	base := s.cellYAML(p, wrapKeys{}, c)
	with := func(text string) string {
		var b strings.Builder
		b.WriteString(base + "banner: |\n")
		for line := range strings.Lines(text) {
			b.WriteString("  " + strings.TrimSuffix(line, "\n") + "\n")
		}
		return b.String()
	}
	banner := "Authorized use only: \"all\" is logged, # 100%; \\o/\n\n"
	for line := 1; len([]rune(banner)) < 1325; line++ {
		banner += fmt.Sprintf("無断使用を禁ず、%d%s\n", line, strings.Repeat("。", 60))
	}
	banner = strings.TrimSuffix(banner, "\n")
	s.endpointUp(with(banner))

	second := s.secondClient()
	const management = "127.0.0.1:7505"
	openvpn := s.openvpn(second, cellProfile(p, wrapKeys{}, c, "verb 4", "management 127.0.0.1 7505"))
	s.ok(openvpn.WaitFor("Initialization Sequence Completed", soon))
	s.reaches(second, none, hostAddr)
	conn, err := second.Dial("tcp", management, soon)
	s.ok(err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(soon))
	fmt.Fprint(conn, "echo all\n")
	var text strings.Builder
	title := ""
	for in := bufio.NewScanner(conn); title == "" && in.Scan(); {
		_, command, ok := strings.Cut(in.Text(), ",")
		if !ok || strings.HasPrefix(in.Text(), ">") {
			continue
		}
		name, value, _ := strings.Cut(command, " ")
		value, err := url.PathUnescape(value)
		s.ok(err)
		switch name {
		case "msg-n":
			text.WriteString(value)
		case "msg":
			text.WriteString(value + "\n")
		case "msg-window":
			title = value
		}
	}
	if got := strings.TrimSuffix(text.String(), "\n"); got != banner || title != "Login banner" {
		t.Errorf("behind openvpn: %q under the title %q", got, title)
	}

	s.aditd()
	ours := c
	ours.Peers = aditToEndpoint
	s.connect(cellProfile(p, wrapKeys{}, ours))
	if got := s.status().Banner; got != banner {
		t.Errorf("our client shows %q", got)
	}
	if got := s.adit("status"); !strings.Contains(got, "banner   Authorized use only:") || !strings.Contains(got, "\n           無断使用を禁ず、1。") {
		t.Errorf("status: %s", got)
	}
	ids := s.connections()
	s.write(s.server, "endpoint.yaml", with("Another text"))
	if said := s.endpointCmd("reload"); !strings.Contains(said, "reloaded, 0 sessions reset") {
		t.Errorf("reload: %s", said)
	}
	if now := s.connections(); len(now) != 2 || now[0].ID != ids[0].ID || now[1].ID != ids[1].ID {
		t.Errorf("sessions %+v, before %+v", now, ids)
	}
	name := s.status().Profile
	s.adit("disconnect", name)
	if got := s.adit("connect", name, "--timeout", "20s"); !strings.Contains(got, "banner   Another text\n") {
		t.Errorf("connect: %s", got)
	}
	s.terminate(openvpn)
}
