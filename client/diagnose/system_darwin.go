package diagnose

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

// guard has nothing to show yet: there is none on macOS.
func (b *bundle) guard() {}
