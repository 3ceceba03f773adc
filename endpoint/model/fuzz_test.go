package model

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

// FuzzRecord: what is read as a record is one, and is written as it was.
func FuzzRecord(f *testing.F) {
	r := &record{ID: newID(endpointPrefix), Created: time.Unix(1, 0).UTC(), Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:443")},
		Settings: Settings{ClientCIDR: netip.MustParsePrefix("10.64.0.0/22"), Transport: "udp", Port: 443, Authentication: []Authentication{{Type: CertificateAuthentication}}},
		Rules:    []rule{{CIDR: netip.MustParsePrefix("10.1.0.0/16"), All: true}}, Associations: []association{{ID: newID(associationPrefix), Subnet: "subnet-1"}}}
	text, err := json.Marshal(r)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{}`))
	f.Add([]byte(`{"ID":"cvpn-endpoint-1","Settings":{"ClientCIDR":"::/0"},"Listen":["x"]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parseRecord(text)
		if err != nil {
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back, err := parseRecord(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, err := json.Marshal(back); err != nil || string(third) != string(again) {
			t.Fatalf("%s is read as %s", again, third)
		}
		if c := r.clone(); !reflect.DeepEqual(c, r) {
			t.Fatal("a copy differs")
		}
		r.sweep(time.Unix(1<<33, 0), 0)
		r.runs()
	})
}
