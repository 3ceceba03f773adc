package diagnose

import (
	"os"

	"golang.org/x/sys/windows"
)

// programDirs asks Windows itself for its directory: the environment is the user's to change.
func programDirs() []string {
	dir, err := windows.GetSystemDirectory()
	if err != nil {
		return nil
	}
	return []string{dir}
}

// environment is the user's: programs of Windows need some of it.
func environment() []string { return os.Environ() }

func probes() []look {
	return []look{
		{name: "addresses.txt", what: "devices, addresses and resolvers", argv: []string{"ipconfig.exe", "/all"}},
		{name: "routes.txt", what: "routes", argv: []string{"route.exe", "print"}},
		{name: "interfaces.txt", what: "interfaces and their metrics", argv: []string{"netsh.exe", "interface", "ip", "show", "interfaces"}},
		{name: "interfaces6.txt", what: "interfaces of IPv6 and their metrics", argv: []string{"netsh.exe", "interface", "ipv6", "show", "interfaces"}},
		{name: "dns.txt", what: "rules for names (NRPT) that are in force", argv: []string{"netsh.exe", "namespace", "show", "effectivepolicy"}},
		{name: "dns-rules.txt", what: "rules for names (NRPT) that programs have set", argv: []string{"reg.exe", "query", `HKLM\SYSTEM\CurrentControlSet\Services\Dnscache\Parameters\DnsPolicyConfig`, "/s"}},
	}
}

// guard has nothing to show: Windows shows the filters of all programs, and only together.
func (b *bundle) guard() {}
