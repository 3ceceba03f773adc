//go:build linux

package lab

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// dynamicKey is what openvpn says when it makes the key of dynamic tls-crypt.
var dynamicKey = regexp.MustCompile(`Outgoing dynamic tls-crypt: Cipher 'AES-256-CTR' initialized`)

// TestControlChannel: every protection of the control channel, with openvpn on
// the other side in both roles. Keys change twice; openvpn 2.6 protects the later
// negotiations with dynamic tls-crypt, so that they can only end well when both
// sides derived the same key.
func TestControlChannel(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	for _, c := range []struct {
		peers, transport, wrap string
		own                    bool // our program made the tls-crypt-v2 keys
	}{
		{aditToOpenVPN, "udp", "plain", false},
		{aditToOpenVPN, "udp", "tls-auth", false},
		{aditToOpenVPN, "udp", "tls-crypt", false},
		{aditToOpenVPN, "udp", "tls-crypt-v2", false},
		{aditToOpenVPN, "tcp", "tls-crypt-v2", false},
		{aditToOpenVPN, "udp", "tls-crypt-v2", true},
		{openVPNToAdit, "udp", "plain", false},
		{openVPNToAdit, "udp", "tls-auth", false},
		{openVPNToAdit, "udp", "tls-crypt", false},
		{openVPNToAdit, "udp", "tls-crypt-v2", false},
		{openVPNToAdit, "tcp", "tls-crypt-v2", false},
		{openVPNToAdit, "tcp", "tls-crypt-v2", true},
	} {
		name := strings.Join([]string{c.peers, c.transport, c.wrap}, "/")
		if c.own {
			name += "/own keys"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			cl := cell{Peers: c.peers, Transport: c.transport, Wrap: c.wrap, Cipher: "AES-256-GCM", NCP: "ncp"}
			shared := staticKey()
			k := wrapKeys{shared, shared}
			switch {
			case c.own:
				k = s.ownV2Keys()
			case c.wrap == "tls-crypt-v2":
				k = s.v2Keys()
			}
			p := newPKI(t)
			var l joined
			var openvpn *Proc
			if c.peers == aditToOpenVPN {
				l = s.aditToOpenVPN(p, k, cl)
				openvpn = l.server
			} else {
				l = s.openVPNToEndpoint(p, k, cl)
				openvpn = l.client
			}
			s.reaches(s.client, none, hostAddr)
			s.until(2*soon, "two renegotiations", func() bool { return l.renegotiations() >= 2 })
			s.reaches(s.client, none, hostAddr)
			if out := openvpn.Out.String(); !dynamicKey.MatchString(out) || !strings.Contains(out, "dyn-tls-crypt") {
				t.Error("no dynamic tls-crypt")
			}
			if c.wrap == "tls-crypt-v2" && c.peers == aditToOpenVPN && !strings.Contains(openvpn.Out.String(), "using tls-crypt-v2 key") {
				t.Error("no tls-crypt-v2")
			}
		})
	}
}

// ownV2Keys lets our program make a server's tls-crypt-v2 key and one client's.
func (s *site) ownV2Keys() wrapKeys {
	s.t.Helper()
	dir := filepath.Join(s.server.Dir, "keys")
	made := func(what string, args ...string) string {
		out := s.run(s.server, append([]string{bin(s.t, "adit-endpoint"), "--data", dir, "pki", "tls-crypt-v2"}, args...)...)
		file, ok := strings.CutPrefix(strings.TrimSpace(out), what+" key: ")
		if !ok {
			s.t.Fatalf("pki tls-crypt-v2 says %q", out)
		}
		return s.read(file)
	}
	return wrapKeys{made("server"), made("client", "ann")}
}

// TestTLSCryptV2Beside: one listener takes clients with a key of their own and,
// beside them, clients of the shared key; nobody without, and nobody whose key is too old.
func TestTLSCryptV2Beside(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	p, shared := newPKI(t), staticKey()
	k := s.v2Keys()
	s.write(s.server, "shared.key", shared)
	config := s.yaml(p, k.server, endpointConfig{Wrap: "tls-crypt-v2", Rules: vpcRules()})
	s.endpointUp(strings.Replace(config, "key: ta.key}", "key: ta.key, max_age_days: 30, also: {type: tls-auth, key: shared.key}}", 1))
	for _, c := range []struct{ wrap, key string }{{"tls-crypt-v2", k.client}, {"tls-auth", shared}} {
		client := s.openvpn(s.client, clientProfile(p, "udp", c.wrap, c.key, "disable-dco"))
		s.ok(client.WaitFor("Initialization Sequence Completed", soon))
		s.reaches(s.client, none, hostAddr)
		if list := s.connections(); len(list) != 1 || (list[0].Key != nil && list[0].Key.Made != nil) != (c.wrap == "tls-crypt-v2") {
			t.Errorf("%s: connections %+v", c.wrap, list)
		}
		s.terminate(client)
	}
	// The metadata of this key is a name: it does not say how old it is.
	undated := s.write(s.server, "undated.key", "")
	s.run(s.server, "openvpn", "--tls-crypt-v2", s.write(s.server, "v2.key", k.server), "--genkey", "tls-crypt-v2-client", undated, "YWxpY2U=")
	for _, c := range []struct{ name, wrap, key string }{
		{"no protection", "plain", ""},
		{"the shared key in another method", "tls-crypt", shared},
		{"another server's key", "tls-crypt-v2", s.v2Keys().client},
		{"a key without a date", "tls-crypt-v2", s.read(undated)},
	} {
		client := s.openvpn(s.client, clientProfile(p, "udp", c.wrap, c.key, "disable-dco"))
		s.ok(client.WaitFor("link remote:", soon))
		if client.WaitFor("VERIFY OK", 3*time.Second) == nil {
			t.Errorf("%s: the server's certificate came", c.name)
		}
		s.terminate(client)
	}
}
