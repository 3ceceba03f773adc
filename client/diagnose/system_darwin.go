package diagnose

import (
	"errors"
	"strings"
)

func programDirs() []string { return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} }

func environment() []string { return []string{"LC_ALL=C"} }

func probes() []look {
	return []look{
		{name: "os.txt", what: "the system's version", argv: []string{"sw_vers"}},
		{name: "addresses.txt", what: "devices and their addresses", argv: []string{"ifconfig", "-a"}},
		{name: "routes.txt", what: "routes", argv: []string{"netstat", "-rn"}},
		{name: "dns.txt", what: "resolvers", argv: []string{"scutil", "--dns"}},
		{name: "resolv.conf", what: "resolvers of old programs", file: "/etc/resolv.conf"},
	}
}

// guard puts in the guard's own anchors of PF, and the main ruleset that comes to them. Only root can read them.
func (b *bundle) guard() {
	const name, what = "system/guard.txt", "the guard's firewall rules (pfctl)"
	list, err := run(b.ctx, "pfctl", "-a", "com.apple", "-s", "Anchors")
	if err != nil {
		b.add(name, what, nil, err)
		return
	}
	var text strings.Builder
	show := func(args ...string) {
		text.WriteString("# pfctl " + strings.Join(args, " ") + "\n")
		out, err := run(b.ctx, append([]string{"pfctl"}, args...)...)
		if err != nil {
			out = "# " + err.Error() + "\n"
		}
		text.WriteString(out)
	}
	for line := range strings.Lines(list) {
		anchor := strings.TrimSpace(line)
		if strings.HasPrefix(anchor, "com.apple/000.adit.") || strings.HasPrefix(anchor, "com.apple/001.adit.") {
			show("-a", anchor, "-s", "rules")
		}
	}
	if text.Len() == 0 {
		b.addText(name, what, "", errors.New("the guard is open: it has no anchor"))
		return
	}
	show("-s", "rules")
	show("-s", "info")
	b.addText(name, what, text.String(), nil)
}
