package profile

import (
	"fmt"
	"strings"
	"testing"
)

// TestVendors imports profiles laid out as the common generators write them
// (the texts are ours). want lists the directives that are not simply used.
func TestVendors(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	pki := "<ca>\n" + ca.pem + "</ca>\n<cert>\nCertificate:\n    Data:\n        Version: 3 (0x2)\n" + me.pem + "</cert>\n<key>\n" + me.kpem + "</key>\n"
	crypt := "<tls-crypt>\n" + staticKeyText + "</tls-crypt>\n"
	auth := "<tls-auth>\n" + staticKeyText + "</tls-auth>\nkey-direction 1\n"
	for _, c := range []struct {
		name, text, want string
		usable           bool
		check            func(p *Profile) bool
	}{
		{"openvpn-install", "client\ndev tun\nproto udp\nremote 203.0.113.7 1194\nresolv-retry infinite\nnobind\npersist-key\npersist-tun\nremote-cert-tls server\n" +
			"auth SHA512\nignore-unknown-option block-outside-dns block-ipv6\nverb 3\n" + pki + crypt, "auth:ignored", true,
			func(p *Profile) bool { return p.TLSCrypt != "" && p.Remotes[0].Host == "203.0.113.7" }},
		{"install script with tls-crypt and suites", "client\nproto udp\nexplicit-exit-notify\nremote vpn.example.com 1194\ndev tun\nresolv-retry infinite\nnobind\npersist-key\npersist-tun\n" +
			"remote-cert-tls server\nverify-x509-name server_AbCdEf0123456789 name\nauth SHA256\nauth-nocache\ncipher AES-128-GCM\ntls-client\ntls-version-min 1.2\n" +
			"tls-cipher TLS-ECDHE-ECDSA-WITH-AES-128-GCM-SHA256\nignore-unknown-option block-outside-dns\nsetenv opt block-outside-dns # against leaks\nverb 3\n" + pki + crypt, "auth:ignored", true,
			func(p *Profile) bool { return p.Own.BlockDNS && p.ExitNotify == 1 && len(p.TLSCiphers) == 1 }},
		{"Access Server", "# Automatically generated OpenVPN client config file\r\n# OVPN_ACCESS_SERVER_USERNAME=alice\r\n# OVPN_ACCESS_SERVER_PROFILE=alice@198.51.100.2/AUTOLOGIN\r\n" +
			"setenv FORWARD_COMPATIBLE 1\r\nclient\r\nserver-poll-timeout 4\r\nnobind\r\nremote 198.51.100.2 1194 udp\r\nremote 198.51.100.2 443 tcp\r\nremote 198.51.100.2 1194 udp\r\ndev tun\r\ndev-type tun\r\n" +
			"remote-cert-tls server\r\ntls-version-min 1.2\r\nreneg-sec 604800\r\nsndbuf 0\r\nrcvbuf 0\r\n# NOTE: LZO commands are pushed by the server\r\nverb 3\r\nsetenv PUSH_PEER_INFO\r\n\r\n" +
			strings.ReplaceAll(pki+auth, "\n", "\r\n"), "", true,
			func(p *Profile) bool {
				return p.SuggestedName == "alice@198.51.100.2/AUTOLOGIN" && len(p.Remotes) == 3 && p.PushPeerInfo && p.KeyDirection == 1
			}},
		{"pfSense", "dev tun\npersist-tun\npersist-key\ndata-ciphers AES-256-GCM:AES-128-GCM:CHACHA20-POLY1305\ndata-ciphers-fallback AES-256-CBC\nauth SHA256\ntls-client\nclient\nresolv-retry infinite\n" +
			"remote fw.example.com 1194 udp4\nnobind\nverify-x509-name \"vpn server\" name\nremote-cert-tls server\nexplicit-exit-notify\n" + pki + auth, "", true,
			func(p *Profile) bool {
				return p.Remotes[0].Proto == "udp4" && len(p.Ciphers) == 3 && p.VerifyName.Value == "vpn server"
			}},
		{"MikroTik", "client\nremote router.example.com 1194\nproto tcp-client\ndev tun\npersist-tun\nnobind\ncipher AES-256-CBC\nauth SHA1\npull\nverb 2\nmute 3\nauth-user-pass\nroute 192.168.88.0 255.255.255.0\n" + pki,
			"mute:ignored", true,
			func(p *Profile) bool { return p.Remotes[0].Proto == "tcp" && len(p.Own.Routes) == 1 }},
		{"consumer VPN", "client\ndev tun\nproto udp\nremote 192.0.2.99 1194\nresolv-retry infinite\nremote-random\nnobind\ntun-mtu 1500\ntun-mtu-extra 32\nmssfix 1450\npersist-key\npersist-tun\nping 15\nping-restart 0\n" +
			"ping-timer-rem\nreneg-sec 0\ncomp-lzo no\nverify-x509-name CN=de1.example.com\nremote-cert-tls server\nauth-user-pass\nverb 3\npull\nfast-io\ncipher AES-256-CBC\nauth SHA512\n<ca>\n" + ca.pem + "</ca>\n" + auth,
			"tun-mtu-extra:ignored fast-io:ignored", true,
			func(p *Profile) bool {
				return p.VerifyName == VerifyName{"subject", "CN=de1.example.com"} && p.Auth == "SHA512"
			}},
		{"sample client.conf", "; comments start with ; or #\nclient\n;dev tap\ndev tun\n;dev-node MyTap\n;proto tcp\nproto udp\nremote my-server-1 1194\n;remote my-server-2 1194\n;remote-random\nresolv-retry infinite\nnobind\n" +
			";user nobody\npersist-key\npersist-tun\n;mute-replay-warnings\nremote-cert-tls server\ncipher AES-256-CBC\n#comp-lzo\nverb 3\n;mute 20\n" + pki + auth, "", true,
			func(p *Profile) bool { return p.Remotes[0].Host == "my-server-1" }},
		{"Synology", "dev tun\ntls-client\nremote nas.example.com 1194\n# float\n# redirect-gateway def1\n# dhcp-option DNS DNS_IP_ADDRESS\npull\nproto udp\nscript-security 2\nreneg-sec 0\ncipher AES-256-CBC\n" +
			"data-ciphers 'AES-256-CBC'\nauth SHA512\nauth-user-pass\n<ca>\n" + ca.pem + "</ca>\n",
			"script-security:ignored", true,
			func(p *Profile) bool { return p.Own.Redirect == nil }},
		{"AWS with SAML", "client\ndev tun\nproto udp\nremote cvpn-endpoint-0a.prod.clientvpn.eu-west-1.amazonaws.com 443\nremote-random-hostname\nresolv-retry infinite\nnobind\nremote-cert-tls server\ncipher AES-256-GCM\nverb 3\n\n<ca>\n" +
			ca.pem + "</ca>\n\nauth-user-pass\nauth-federate\nauth-retry interact\nauth-nocache\nreneg-sec 0\nverify-x509-name server.example name\naws-auth-device-posture jamf\n",
			"aws-auth-device-posture:ignored", true,
			func(p *Profile) bool { return p.RandomHostname && p.AuthFederate && p.AuthKind() == "browser" }},
		{"hooks", "client\nremote vpn.example.com\nup /etc/openvpn/update-resolv-conf\ndown /etc/openvpn/update-resolv-conf\nplugin /usr/lib/evil.so\nuser nobody\nremote-cert-tls server\n" + pki,
			"up:ignored down:ignored plugin:ignored user:ignored", true, func(p *Profile) bool { return p.Remotes[0].Port == 1194 && p.Remotes[0].Proto == "udp" }},
	} {
		p, err := Parse(c.name, []byte(c.text), nil)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		var got []string
		for _, d := range p.Directives {
			if d.Verdict != Used {
				got = append(got, fmt.Sprintf("%s:%s", d.Words[0], d.Verdict))
			}
		}
		if list := strings.Join(got, " "); list != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, list, c.want)
		}
		if r := p.Check(testNow()); r.Usable != c.usable {
			t.Errorf("%s: usable %v: %+v", c.name, r.Usable, r.Problems)
		}
		if !c.check(p) {
			t.Errorf("%s: fields: %+v", c.name, p)
		}
	}
}
