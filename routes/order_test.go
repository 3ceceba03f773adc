package routes

import (
	"net/netip"
	"testing"
)

func TestBefore(t *testing.T) {
	server := []netip.AddrPort{netip.MustParseAddrPort("10.0.0.2:53")}
	plain, split, none := DNS{Servers: server}, DNS{Servers: server, Split: []string{"corp.example.com"}}, DNS{Search: []string{"example.com"}}
	for _, c := range []struct {
		name        string
		tunnels     []Asker
		i           int
		alone, many int // what is before i: where one tunnel's servers are asked, and where links have their own
	}{
		{"alone", []Asker{{DNS: plain}}, 0, -1, -1},
		{"the newest of two", []Asker{{DNS: plain}, {DNS: plain}}, 0, -1, -1},
		{"the older of two", []Asker{{DNS: plain}, {DNS: plain}}, 1, 0, -1},
		{"beside one of all traffic", []Asker{{DNS: plain}, {Full: true, DNS: plain}}, 0, 1, 1},
		{"of some domains beside that", []Asker{{DNS: split}, {Full: true, DNS: plain}}, 0, 1, -1},
		{"that one", []Asker{{DNS: plain}, {Full: true, DNS: plain}}, 1, -1, -1},
		{"without servers", []Asker{{DNS: plain}, {DNS: none}}, 1, -1, -1},
		{"one of all traffic without servers", []Asker{{DNS: plain}, {Full: true, DNS: none}}, 0, -1, -1},
	} {
		if got := Before(c.tunnels, c.i, false); got != c.alone {
			t.Errorf("%s, one at a time: %d, want %d", c.name, got, c.alone)
		}
		if got := Before(c.tunnels, c.i, true); got != c.many {
			t.Errorf("%s, by links: %d, want %d", c.name, got, c.many)
		}
	}
}
