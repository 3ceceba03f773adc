package profile

import (
	"slices"
	"testing"
)

// TestServersNameTheirProxy: each block has its own proxy or the file's.
func TestServersNameTheirProxy(t *testing.T) {
	p := mustParse(t, `client
dev tun
socks-proxy 2001:db8::9
<connection>
remote a.example 1194 udp
</connection>
<connection>
remote b.example 443 tcp
http-proxy proxy.example 3128 auto
</connection>
`, nil)
	want := []string{"a.example:1194/udp through socks5://[2001:db8::9]:1080", "b.example:443/tcp through http://proxy.example:3128"}
	if got := p.Servers(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
