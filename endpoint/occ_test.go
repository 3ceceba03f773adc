package endpoint

import (
	"slices"
	"testing"
)

func TestOCCWarnings(t *testing.T) {
	const same = "V4,dev-type tun,link-mtu 1549,tun-mtu 1500,proto UDPv4,cipher AES-256-GCM,auth [null-digest],keysize 256,key-method 2,tls-client"
	plain := Config{TunMTU: 1500}
	framed := Config{TunMTU: 1400, Legacy: Legacy{Compress: "stub", Fragment: 1300}}
	migrating := Config{TunMTU: 1500, Legacy: Legacy{Compress: "migrate"}}
	for _, tt := range []struct {
		name    string
		cfg     Config
		options string
		want    []string
	}{
		{"same", plain, same, nil},
		{"nothing said", framed, "", nil},
		{"not options", framed, "V5,tun-mtu 9", nil},
		{"tap", plain, "V4,dev-type tap,tun-mtu 1500", []string{`dev-type is "tap" there, tun here`}},
		{"framing there", plain, same + ",comp-lzo,mtu-dynamic", []string{"compression framing is on there, off here", "fragment is on there, off here"}},
		{"framing here", framed, same, []string{"tun-mtu is 1500 there, 1400 here", "compression framing is off there, on here", "fragment is off there, on here"}},
		{"migrated", migrating, same + ",comp-lzo", nil},
	} {
		if got := occWarnings(&tt.cfg, tt.options); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func FuzzOCC(f *testing.F) {
	f.Add("V4,dev-type tun,tun-mtu 1500,comp-lzo")
	cfg := Config{TunMTU: 1500}
	f.Fuzz(func(t *testing.T, options string) {
		if n := len(occWarnings(&cfg, options)); n > 4 {
			t.Fatalf("%d warnings", n)
		}
	})
}
