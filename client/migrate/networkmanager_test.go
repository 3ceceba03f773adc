package migrate

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

// keyfileOf wraps the [vpn] section of a connection; more is what follows it.
func keyfileOf(vpn, more string) string {
	return "[connection]\nid=Office\nuuid=ab39dfb7-c5d1-4b6a-9f3c-111111111111\ntype=vpn\npermissions=\ntimestamp=1700000000\n\n[vpn]\n" + vpn +
		"service-type=org.freedesktop.NetworkManager.openvpn\n\n" + more + "\n[proxy]\n"
}

// TestNetworkManager: what each key becomes.
func TestNetworkManager(t *testing.T) {
	split := "[ipv4]\nmethod=auto\nnever-default=true\n[ipv6]\nmethod=disabled\n" // the least that adds lines
	tail := "nobind\npull-filter ignore \"ifconfig-ipv6 \"\npull-filter ignore \"route-ipv6 \"\npull-filter ignore redirect-gateway\n"
	all := "all traffic goes through it, as with NetworkManager (ipv4.never-default is not set)"
	for name, tc := range map[string]struct {
		vpn, more, want string
		notes           []string
	}{
		"certificate": {vpn: "ca=/etc/vpn/ca.pem\ncert=/etc/vpn/ann.pem\nkey=/etc/vpn/ann.key\ncert-pass-flags=0\nconnection-type=tls\nremote=a.example:443:tcp, b.example\nport=1195\n" +
			"cipher=AES-256-GCM\nauth=SHA256\nremote-cert-tls=server\nta=/etc/vpn/ta.key\nta-dir=1\n",
			more: "[vpn-secrets]\ncert-pass=hunter2\n" + split,
			want: "client\nremote a.example 443 tcp-client\nremote b.example 1195 udp\ndev tun\ncipher AES-256-GCM\nauth SHA256\nremote-cert-tls server\n" +
				"tls-auth /etc/vpn/ta.key 1\nreneg-sec 0\nca /etc/vpn/ca.pem\ncert /etc/vpn/ann.pem\nkey /etc/vpn/ann.key\naskpass \"cert-pass of the keyfile\"\n" + tail},
		"password": {vpn: "ca=/etc/vpn/ca.pem\nconnection-type=password\nremote=[2001:db8::1]:1194:udp6 2001:db8::2\npassword-flags=2\nusername=ann\nverify-x509-name=name:vpn.example\ncomp-lzo=no-by-default\nproto-tcp=yes\n",
			more: "[vpn-secrets]\npassword=secret\n" + split,
			want: "client\nremote 2001:db8::1 1194 udp6\nremote 2001:db8::2 1194 tcp-client\ndev tun\ncomp-lzo no\nverify-x509-name vpn.example name\nreneg-sec 0\nca /etc/vpn/ca.pem\n" +
				"<auth-user-pass>\nann\n</auth-user-pass>\nauth-retry interact\nauth-nocache\n" + tail,
			notes: []string{"its saved password is not taken: the first sign-in asks for it"}},
		"pkcs12 and both": {vpn: "ca=/etc/vpn/ann.p12\ncert=/etc/vpn/ann.p12\nkey=/etc/vpn/ann.p12\nconnection-type=password-tls\nremote=a.example\nreneg-seconds=3600\ntls-remote=old\ncomp-lzo=yes\ncompress=lz4-v2\n" +
			"dev=tun\\\\061\ndev-type=tun\nmssfix=1300\ntunnel-mtu=1400\nfragment-size=1200\ntls-version-min=1.2\ntls-version-min-or-highest=yes\nremote-random=yes\nfloat=no\nmystery=1\n",
			more: split,
			want: "client\nremote a.example 1194 udp\nexplicit-exit-notify\ndev tun1\nremote-random\ntun-mtu 1400\nfragment 1200\ndev-type tun\ncompress lz4-v2\nmssfix 1300\n" +
				"tls-version-min 1.2 or-highest\nverify-x509-name old name\nreneg-sec 3600\npkcs12 /etc/vpn/ann.p12\nauth-user-pass\nauth-retry interact\n" + tail,
			notes: []string{"no counterpart here: vpn.mystery"}},
		"proxy": {vpn: "connection-type=tls\nremote=a.example\nproto-tcp=yes\nproxy-type=http\nproxy-server=proxy.example\nproxy-port=3128\nhttp-proxy-username=bob\nproxy-retry=yes\n",
			more:  "[vpn-secrets]\nhttp-proxy-password=pw\n" + split,
			want:  "client\nremote a.example 1194 tcp-client\ndev tun\nreneg-sec 0\nhttp-proxy proxy.example 3128 auto\n<http-proxy-user-pass>\nbob\npw\n</http-proxy-user-pass>\n" + tail,
			notes: []string{"no counterpart here: vpn.proxy-retry"}},
		"socks": {vpn: "connection-type=tls\nremote=a.example\nproxy-type=socks\nproxy-server=proxy.example\n", more: split,
			want: "client\nremote a.example 1194 udp\nexplicit-exit-notify\ndev tun\nreneg-sec 0\nsocks-proxy proxy.example 1080\n" + tail},
		"what has no counterpart": {vpn: "connection-type=tls\nremote=a.example\nproxy-retry=no\n",
			more:  "[ipv4]\nmethod=auto\nnever-default=true\nmay-fail=false\n[ipv6]\nmethod=disabled\nmay-fail=true\n[connection]\npermissions=user:ann:;\n",
			want:  "client\nremote a.example 1194 udp\nexplicit-exit-notify\ndev tun\nreneg-sec 0\n" + tail,
			notes: []string{"no counterpart here: connection.permissions", "no counterpart here: ipv4.may-fail"}},
		"static key": {vpn: "connection-type=static-key\nstatic-key=/etc/vpn/s.key\nstatic-key-direction=1\nremote=a.example\nlocal-ip=10.0.0.2\nremote-ip=10.0.0.1\n", more: split,
			want: "remote a.example 1194 udp\nexplicit-exit-notify\ndev tun\nifconfig 10.0.0.2 10.0.0.1\nsecret /etc/vpn/s.key 1\n" + tail},
		"networks": {vpn: "connection-type=tls\nremote=a.example\n",
			more: "[ipv4]\nmethod=auto\ndns=10.0.0.2;10.0.0.3;\ndns-search=corp.example;~lab.example;\nignore-auto-dns=true\nignore-auto-routes=true\nroute1=10.1.0.0/16\nroute2=10.2.3.4/16,10.8.0.1,50\nroute3=10.3.0.0/16,0.0.0.0,9\n" +
				"route1_options=table=5\ndns-priority=-50\nroute-metric=70\n[ipv6]\nmethod=auto\nroute1=2001:db8::/32,::,5\n",
			want: "client\nremote a.example 1194 udp\nexplicit-exit-notify\ndev tun\nreneg-sec 0\nnobind\nredirect-gateway def1 ipv6\npull-filter ignore \"route \"\npull-filter ignore dhcp-option\npull-filter ignore \"dns \"\n" +
				"dhcp-option DNS 10.0.0.2\ndhcp-option DNS 10.0.0.3\ndhcp-option DOMAIN-SEARCH corp.example\ndhcp-option DOMAIN-ROUTE lab.example\n" +
				"route 10.1.0.0 255.255.0.0\nroute 10.2.0.0 255.255.0.0 10.8.0.1 50\nroute 10.3.0.0 255.255.0.0 vpn_gateway 9\nroute-ipv6 2001:db8::/32 default 5\nroute-metric 70\n",
			notes: []string{all, "no counterpart here: ipv4.route1_options", "no counterpart here: ipv4.dns-priority"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := linux(fstest.MapFS{nmFolder + "/x.nmconnection": file(keyfileOf(tc.vpn, tc.more)), "etc/vpn/ann.p12": file("\x30\x82\x01\x02xxx"), "etc/vpn/ca.pem": file("-----BEGIN CERTIFICATE-----\n")})
			found, err := s.Find(NetworkManager, "")
			if err != nil || len(found) != 1 || found[0].Err != nil {
				t.Fatalf("%+v, %v", found, err)
			}
			if got := string(found[0].Text); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
			if got := strings.Join(found[0].Notes, "\n"); got != strings.Join(tc.notes, "\n") {
				t.Errorf("notes:\n%s", got)
			}
			if found[0].Name != "Office" {
				t.Errorf("it is called %s", found[0].Name)
			}
			// Our reader knows each line.
			p, _ := profile.Parse("x", found[0].Text, nil)
			for _, d := range p.Directives {
				if d.Code == "unknown_directive" || d.Verdict == profile.Refused && d.Code != "file_refused" && d.Code != "static_key" {
					t.Errorf("line %d, %v: %v %s", d.Line, d.Words, d.Verdict, d.Note)
				}
			}
		})
	}
}

// TestNetworkManagerRefuses: what is no such profile, and what cannot be one.
func TestNetworkManagerRefuses(t *testing.T) {
	wifi := "[connection]\nid=home\ntype=wifi\n[wifi-security]\npsk=secret\n"
	s := linux(fstest.MapFS{
		nmFolder + "/home.nmconnection": file(wifi), nmFolder + "/old": file(keyfileOf("connection-type=tls\nremote=a\n", "")), nmFolder + "/notes": file("hello"),
		nmFolder + "/wg.nmconnection": file("[connection]\ntype=vpn\n[vpn]\nservice-type=org.freedesktop.NetworkManager.vpnc\n"),
	})
	expect(t, shown(t, s, NetworkManager, ""), "Office <- /etc/NetworkManager/system-connections/old: client", "  all traffic goes through it, as with NetworkManager (ipv4.never-default is not set)")
	for text, want := range map[string]string{
		wifi:                                   errNotOpenVPN.Error(),
		"hello":                                errNotOpenVPN.Error(),
		keyfileOf("connection-type=tls\n", ""): "it names no server",
		keyfileOf("connection-type=dance\nremote=a\n", ""):                             `its connection-type is "dance": none of tls, password, password-tls and static-key`,
		keyfileOf("connection-type=tls\nremote=a\ncipher=x\\nplugin evil\n", ""):       "cipher: its value has a control character",
		keyfileOf("connection-type=password\nremote=a\nusername=x\\ny\n", ""):          "auth-user-pass: its value has a control character",
		keyfileOf("connection-type=tls\nremote=a\n", "[ipv4]\nroute1=10.0.0.0/99\n"):   `ipv4.route1: "10.0.0.0/99" is not a network of this kind`,
		keyfileOf("connection-type=tls\nremote=a\nbroken\n", ""):                       "line 11: neither [group] nor key=value",
		keyfileOf("connection-type=tls\nremote=a\nproxy-type=x\nproxy-server=y\n", ""): `its proxy-type is "x": neither http nor socks`,
		keyfileOf(strings.Repeat("x=1\n", maxKeys), ""):                                fmt.Sprintf("line %d: there are more than %d keys", 8+maxKeys-5+1, maxKeys),
	} {
		got := shown(t, linux(fstest.MapFS{"x": file(text)}), NetworkManager, "/x")
		if len(got) != 1 || !strings.HasSuffix(got[0], "! "+want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// locked is a folder whose files only root can read.
type locked struct{ fstest.MapFS }

func (l locked) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".nmconnection") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return l.MapFS.Open(name)
}

func TestNetworkManagerIsRoots(t *testing.T) {
	s := System{OS: "linux", Files: locked{fstest.MapFS{nmFolder + "/a.nmconnection": file(""), nmFolder + "/b.nmconnection": file("")}}}
	found, err := s.Find(NetworkManager, "")
	if err != nil || len(found) != 1 || found[0].Err == nil || found[0].Err.Error() != "2 of its files: permission denied" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestKeyfileEscapes(t *testing.T) {
	k, err := parseKeyfile([]byte("# c\n[g]\n a = \\sx\\ty\\\\z\\q \nlist=a\\;b;c\\s;;d\nlist2=\nb=1\nb=2\n[h]\n[g]\nc=3\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := k.text("g", "a"); got != " x\ty\\z\\q " {
		t.Errorf("%q", got)
	}
	if got := strings.Join(k.list("g", "list"), "|"); got != "a;b|c ||d" {
		t.Errorf("%q", got)
	}
	if got := strings.Join(k.keys["g"], " "); got != "a list list2 b c" || k.text("g", "b") != "2" || k.text("g", "c") != "3" || len(k.list("g", "list2")) != 0 {
		t.Errorf("%q", got)
	}
	if got := octets(`/home/\303\251/\\x\y\0601`); got != "/home/é/\\x\\y01" {
		t.Errorf("%q", got)
	}
}

// FuzzKeyfile: whatever the file says, each line of the profile begins with a directive that convert writes, and no line
// is made by a value.
func FuzzKeyfile(f *testing.F) {
	f.Add(keyfileOf("connection-type=password-tls\nremote=a:1:udp,[::1]:2\nusername=a\nca=x\nverify-x509-name=b\\nc\n", "[ipv4]\nroute1=10.0.0.0/8,1.2.3.4,5\ndns=1.1.1.1;\n"))
	f.Add("[connection]\ntype=vpn\n[vpn]\nservice-type=" + nmService + "\nconnection-type=static-key\nremote=::1\nstatic-key=\\\\001\n")
	allowed := map[string]bool{}
	for _, w := range strings.Fields("client remote explicit-exit-notify dev compress comp-lzo mssfix tls-version-min ifconfig verify-x509-name tls-auth secret reneg-sec ca cert key pkcs12 " +
		"askpass auth-user-pass auth-retry auth-nocache http-proxy socks-proxy nobind pull-filter redirect-gateway dhcp-option route route-ipv6 route-metric") {
		allowed[w] = true
	}
	for _, x := range append(nmKeys, nmFiles...) {
		allowed[x.directive] = true
	}
	for _, x := range nmFlags {
		allowed[x] = true
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, err := linux(fstest.MapFS{"x": file(text)}).Find(NetworkManager, "/x")
		if err != nil || len(found) != 1 || found[0].Err != nil {
			return
		}
		inside := 0
		for line := range strings.Lines(string(found[0].Text)) {
			switch {
			case inside > 0: // a block's lines: what they are was fixed by their number
				inside--
				continue
			case line == "<auth-user-pass>\n":
				inside = 2
				continue
			case line == "<http-proxy-user-pass>\n":
				inside = 3
				continue
			}
			words, err := push.Split(strings.TrimSuffix(line, "\n"))
			if err != nil || len(words) == 0 || !allowed[words[0]] {
				t.Fatalf("the line %q: %v", line, err)
			}
		}
	})
}
