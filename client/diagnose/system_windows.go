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
		{name: "dns.txt", what: "rules for names (NRPT)", argv: []string{"netsh.exe", "namespace", "show", "policy"}},
	}
}

// guard has nothing to show yet: there is none on Windows.
func (b *bundle) guard() {}
