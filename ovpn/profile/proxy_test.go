package profile

import (
	"reflect"
	"slices"
	"strings"
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

// TestThrough: another proxy takes the place of all that the file names, also where the file's carries less than the other one.
func TestThrough(t *testing.T) {
	p := mustParse(t, `client
dev tun
http-proxy proxy.example 3128 basic
<http-proxy-user-pass>
al
geheim
</http-proxy-user-pass>
remote a.example 1194 udp
<connection>
remote b.example 443 tcp
socks-proxy other.example
</connection>
`, nil)
	if len(p.Remotes) != 1 {
		t.Fatalf("%d servers by the file's own proxies", len(p.Remotes))
	}
	for word, want := range map[string][]string{
		"socks5://s.example": {"a.example udp socks5://s.example:1080 al geheim", "b.example tcp socks5://s.example:1080 al geheim"},
		"http://[::1]:80":    {"b.example tcp http://[::1]:80 al geheim"},
		"":                   {"a.example udp", "b.example tcp"},
	} {
		var x *Proxy
		if word != "" {
			var err error
			if x, err = ParseProxy(word); err != nil {
				t.Fatal(err)
			}
		}
		list, err := p.Through(x)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range list {
			line := r.Host + " " + r.Proto
			if y := r.Proxy; y != nil {
				line += " " + y.String() + " " + y.Username + " " + y.Password.Reveal()
			}
			got = append(got, line)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
		if x != nil && x.Username != "" {
			t.Errorf("%q: the caller's proxy has the credentials now", word)
		}
	}
	// A direction alone in a block is no key, and one of the whole file counts in each block.
	const key = "<tls-auth>\n-----BEGIN OpenVPN Static key V1-----\n" + "KEY" + "-----END OpenVPN Static key V1-----\n</tls-auth>\n"
	text := strings.ReplaceAll("client\ndev tun\nhttp-proxy p.example 80\nkey-direction 1\n"+key+"<connection>\nremote a.example 1194 udp\n"+key+"</connection>\n<connection>\nremote b.example 443 tcp\nkey-direction 0\n</connection>\n",
		"KEY", strings.Repeat(strings.Repeat("0123456789abcdef", 2)+"\n", 16))
	list, err := mustParse(t, text, nil).Through(nil)
	if err != nil || len(list) != 2 || list[0].Keys == nil || list[0].Keys.Direction != 1 || list[1].Keys != nil {
		t.Errorf("keys: %+v, %v", list, err)
	}
	udp := mustParse(t, "client\ndev tun\nremote a.example 1194 udp\n", nil)
	if list, err := udp.Through(&Proxy{Kind: "http", Host: "p.example", Port: 80}); err == nil {
		t.Errorf("UDP through an HTTP proxy: %+v", list)
	}
}

// FuzzParseProxy: what is taken is written as it is read, and names a host that may be looked up.
func FuzzParseProxy(f *testing.F) {
	for _, s := range []string{"http://proxy.example:3128", "socks5://[2001:db8::1]", "socks5://192.0.2.1:1", "http://u:p@x:1", "http://x:1/?#", "http://[fe80::1%25eth0]:80", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		x, err := ParseProxy(s)
		if err != nil {
			return
		}
		if again, err := ParseProxy(x.String()); err != nil || !reflect.DeepEqual(x, again) {
			t.Errorf("%q: %+v, then %+v, %v", s, x, again, err)
		}
		if hostName(x.Host) != nil || x.Port == 0 || x.Username != "" {
			t.Errorf("%q: %+v", s, x)
		}
	})
}
