package push

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// The messages of openvpn's tests/unit_tests/openvpn/test_push_update_msg.c, and what each must do to a session.
func TestMerge(t *testing.T) {
	have := []string{
		"dhcp-option DNS 9.9.9.9", "dhcp-option DOMAIN old.example", "dns server 0 address 192.0.2.1", "route 10.0.0.0 255.0.0.0", "route-ipv6 fd00::/8",
		"route-gateway 10.8.0.1", "redirect-private def1", "block-ipv6", "topology subnet", "ping 10", "ping-restart 60", "ifconfig 10.8.0.2 255.255.255.0", "peer-id 0",
	}
	for _, c := range []struct {
		update string
		gone   string // names, by |
		come   string // options, by |
		err    string // part of the error
	}{
		{"", "", "", ""},
		{",,", "", "", ""},
		{"dhcp-option DNS 8.8.8.8, route 0.0.0.0 0.0.0.0 10.10.10.1", "dhcp-option|route", "dhcp-option DNS 8.8.8.8|route 0.0.0.0 0.0.0.0 10.10.10.1", ""},
		{" -?dns, route something, ?dhcp-option DNS 8.8.8.8", "dns|route|dhcp-option", "route something|dhcp-option DNS 8.8.8.8", ""},
		{" -dhcp-option, ?-dns", "", "", "option ?-dns"},
		{" dev tun", "", "", "option dev: cannot be changed"},
		{"-dhcp-option, route 10.10.10.0, dhcp-option DNS 1.1.1.1, route 10.11.12.0, dhcp-option DOMAIN corp.local, keepalive 10 60", "dhcp-option|route|ping|ping-restart",
			"route 10.10.10.0|dhcp-option DNS 1.1.1.1|route 10.11.12.0|dhcp-option DOMAIN corp.local|keepalive 10 60", ""},
		{"-dhcp-option,dhcp-option DNS 8.8.8.8,redirect-gateway local,route 192.168.1.0 255.255.255.0", "dhcp-option|redirect-private|route",
			"dhcp-option DNS 8.8.8.8|redirect-gateway local|route 192.168.1.0 255.255.255.0", ""},
		{"route 10.1.0.0 255.255.0.0,route 10.2.0.0 255.255.0.0,push-continuation 2,route 10.3.0.0 255.255.0.0,push-continuation 1", "route",
			"route 10.1.0.0 255.255.0.0|route 10.2.0.0 255.255.0.0|route 10.3.0.0 255.255.0.0", ""},
		{"-route", "route", "", ""},
		{"-route-ipv6,-redirect-gateway,-block-ipv6", "route-ipv6|redirect-private|block-ipv6", "", ""},
		{"route 10.1.0.0,-route,route 10.2.0.0", "route", "route 10.2.0.0", ""},
		{"-dhcp-option DNS 9.9.9.9", "", "", ""}, // openvpn knows no removal of one value
		{"route,dns", "", "", ""},
		{"-topology,-tun-mtu,-ifconfig", "topology|ifconfig", "", ""},
		{"-keepalive", "ping|ping-restart", "", ""},
		{"?cipher AES-128-GCM,?-dev", "", "", "option ?-dev"},
		{"?cipher AES-128-GCM,-?peer-id", "", "", ""},
		{"-peer-id", "", "", "option peer-id"},
		{"up /bin/sh", "", "", "option up"},
		{"routes 10.0.0.0", "", "", "option routes"},
		{"-", "", "", "not an option"},
		{"--route", "", "", "option -route"},
		{"-?", "", "", "not an option"},
	} {
		got, err := Merge(have, strings.Split(c.update, ","))
		if c.err != "" {
			var e *OptionError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: got %v, want an error with %q", c.update, err, c.err)
			}
			continue
		}
		want := slices.DeleteFunc(slices.Clone(have), func(s string) bool {
			return slices.Contains(strings.Split(c.gone, "|"), firstWord(s))
		})
		if c.come != "" {
			want = append(want, strings.Split(c.come, "|")...)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v\ngot  %q\nwant %q", c.update, err, got, want)
		}
	}
}

func TestMergeIsBounded(t *testing.T) {
	if _, err := Merge(nil, slices.Repeat([]string{"route 10.0.0.0"}, maxOptions+1)); err == nil {
		t.Error("no limit")
	}
}

func TestDifference(t *testing.T) {
	have := []string{"route 10.0.0.0 255.0.0.0", "dhcp-option DNS 9.9.9.9", "redirect-private", "topology subnet", "ping 10", "peer-id 1", "cipher AES-256-GCM"}
	for _, c := range []struct {
		want, update string
		ok           bool
	}{
		{"route 10.0.0.0 255.0.0.0|dhcp-option DNS 9.9.9.9|redirect-private|topology subnet|ping 10", "", true},
		{"route 10.0.0.0 255.0.0.0|route 10.1.0.0 255.255.0.0|dhcp-option DNS 9.9.9.9|redirect-private|topology subnet|ping 10|peer-id 7",
			"route 10.0.0.0 255.0.0.0|route 10.1.0.0 255.255.0.0", true},
		{"redirect-gateway def1|topology subnet|ping 10|block-ipv6", "-route|-dhcp-option|redirect-gateway def1|block-ipv6", true},
		{"topology subnet|ping 10|route-gateway 10.8.0.1", "-route|-dhcp-option|-redirect-gateway|route-gateway 10.8.0.1", true},
		{"route 10.0.0.0 255.0.0.0|dhcp-option DNS 9.9.9.9|redirect-private|topology subnet|ping 20", "", false},
		{"route 10.0.0.0 255.0.0.0|dhcp-option DNS 9.9.9.9|redirect-private|topology subnet|ping 10|compress stub-v2", "", false},
	} {
		update, ok := Difference(have, strings.Split(c.want, "|"))
		if ok != c.ok || strings.Join(update, "|") != c.update {
			t.Errorf("%s:\ngot  %q %v\nwant %q %v", c.want, update, ok, c.update, c.ok)
		}
	}
}

func TestFilterUpdate(t *testing.T) {
	f := Filter{{Ignore, "route 10."}, {Reject, "dhcp-option"}, {Ignore, "redirect"}}
	got, err := f.Update(nil, []string{"route 10.1.0.0", "route 192.0.2.0", "-redirect-gateway", "-?dhcp-option", "?dhcp-option DNS 192.0.2.1", "-route", "?-x"})
	if err != nil || strings.Join(got, "|") != "route 192.0.2.0|-route|?-x" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := f.Update(nil, []string{"-dhcp-option"}); err == nil || !strings.Contains(err.Error(), "pull-filter") {
		t.Error(err)
	}
}

// FuzzUpdate: Merge takes any text; and what a server may push turns into what it may push by Difference.
func FuzzUpdate(f *testing.F) {
	f.Add("route 10.0.0.0 255.0.0.0,dhcp-option DNS 192.0.2.1", "redirect-gateway def1,dns server 1 address 192.0.2.2,-route", "-?dns,?x,keepalive 1 2")
	f.Add("ifconfig 10.8.0.2 255.255.255.0,topology subnet,ifconfig-ipv6 fd00::2/64", "tun-mtu 1400,route-ipv6 fd01::/64,block-ipv6", "-")
	f.Fuzz(func(t *testing.T, have, want, update string) {
		if merged, err := Merge(SplitReply(have), strings.Split(update, ",")); err == nil {
			if again, err := Merge(merged, nil); err != nil || !slices.Equal(again, merged) {
				t.Fatalf("%q %v", again, err)
			}
		}
		a, err := Parse(SplitReply(have), nil)
		if err != nil {
			return
		}
		b, err := Parse(SplitReply(want), nil)
		if err != nil {
			return
		}
		changes, ok := Difference(a.Options(), b.Options())
		if !ok {
			return
		}
		merged, err := Merge(a.Options(), changes)
		if err != nil {
			t.Fatalf("%q: %v", changes, err)
		}
		got, err := Parse(merged, nil)
		if err != nil {
			t.Fatalf("%q: %v", merged, err)
		}
		want2, err := Parse(b.Options(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(configuration(got), configuration(want2)) {
			t.Fatalf("by %q\ngot  %+v\nwant %+v", changes, configuration(got), configuration(want2))
		}
	})
}

// configuration leaves out what a session settles, sorts IPv4 before IPv6 as an update may, and what nobody
// knows by its name: nothing depends on the order of different options.
func configuration(r Reply) Reply {
	r.PeerID, r.Cipher, r.Flags, r.TLSExport, r.AuthToken, r.TokenUser, r.Notes = 0, "", nil, false, "", "", nil
	r.Unknown = slices.Sorted(slices.Values(r.Unknown))
	r.Routes = slices.Clone(r.Routes)
	slices.SortStableFunc(r.Routes, func(a, b Route) int {
		return cmp.Compare(a.Destination.Addr().BitLen()+32*len(a.Word), b.Destination.Addr().BitLen()+32*len(b.Word))
	})
	return r
}
