package diagnose

import (
	"errors"
	"strings"
)

func programDirs() []string { return []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"} }

func environment() []string {
	return []string{"LC_ALL=C", "TERM=dumb", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
}

func probes() []look {
	return []look{
		{name: "os-release", what: "the distribution", file: "/etc/os-release"},
		{name: "kernel.txt", what: "the kernel", file: "/proc/version"},
		{name: "addresses.txt", what: "devices and their addresses (ip address)", argv: []string{"ip", "-d", "address"}},
		{name: "rules.txt", what: "IPv4's routing rules (ip rule)", argv: []string{"ip", "-4", "rule"}},
		{name: "rules6.txt", what: "IPv6's routing rules", argv: []string{"ip", "-6", "rule"}},
		{name: "routes.txt", what: "IPv4's routes in all tables (ip route)", argv: []string{"ip", "-4", "route", "show", "table", "all"}},
		{name: "routes6.txt", what: "IPv6's routes in all tables", argv: []string{"ip", "-6", "route", "show", "table", "all"}},
		{name: "resolv.conf", what: "which resolvers programs ask", file: "/etc/resolv.conf"},
		{name: "nsswitch.conf", what: "in which order names are looked up", file: "/etc/nsswitch.conf"},
		{name: "resolvectl.txt", what: "what systemd-resolved says", argv: []string{"resolvectl", "--no-pager", "status"}},
		{name: "nmcli.txt", what: "what NetworkManager says, without the networks' names", argv: []string{"nmcli", "-f", "GENERAL.DEVICE,GENERAL.TYPE,GENERAL.STATE,IP4,IP6", "device", "show"}},
		{name: "resolvconf.txt", what: "what resolvconf says", argv: []string{"resolvconf", "-l"}},
	}
}

// guard puts in the guard's own tables of nftables, and no other rule of the machine. Only root can read them.
func (b *bundle) guard() {
	const name, what = "system/guard.txt", "the guard's firewall rules (nft list table)"
	list, err := run(b.ctx, "nft", "list", "tables")
	if err != nil {
		b.add(name, what, nil, err)
		return
	}
	var text strings.Builder
	for line := range strings.Lines(list) {
		words := strings.Fields(line) // "table inet adit_guard_…"
		if len(words) != 3 || words[0] != "table" || !strings.HasPrefix(words[2], "adit_guard_") {
			continue
		}
		table, err := run(b.ctx, "nft", "list", "table", words[1], words[2])
		if err != nil {
			table = "# " + err.Error() + "\n"
		}
		text.WriteString(table)
	}
	if text.Len() == 0 {
		err = errors.New("the guard is open: it has no table")
	}
	b.addText(name, what, text.String(), err)
}
