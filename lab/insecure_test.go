//go:build linux

package lab

import (
	"strings"
	"testing"
)

// TestBrokenCiphers: BF-CBC and DES connect to openvpn, in both roles, only where the administrator
// has allowed them, and loudly. "none" never does. openvpn needs OpenSSL's legacy provider for the single-key ones.
func TestBrokenCiphers(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	legacy := "providers legacy default"
	for _, c := range []struct {
		cipher, ncp string
		more        []string // lines of openvpn
	}{
		{"DES-EDE3-CBC+SHA1", "", nil},
		{"DES-EDE3-CBC+SHA256", "no-ncp", nil},
		{"BF-CBC+SHA1", "", []string{legacy}},
		{"DES-CBC+SHA1", "", []string{legacy}},
	} {
		of := cell{Transport: "udp", Wrap: "tls-crypt", Cipher: c.cipher, NCP: c.ncp}
		name := strings.TrimSuffix(c.cipher+"/"+c.ncp, "/")
		t.Run("client/"+name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			of, p, key := of, newPKI(t), staticKey()
			of.Peers = aditToOpenVPN
			k := wrapKeys{key, key}
			server := s.openvpnUp(p, k, of, c.more...)
			text := cellProfile(p, k, of)

			strict := s.aditd()
			s.adit("import", s.write(s.client, "lab.ovpn", text))
			s.fails(s.client, "have no data cipher in common", bin(t, "adit"), "connect", "lab", "--timeout", "20s")
			if strings.Contains(strict.Out.String(), "INSECURE") {
				t.Error("the service warns of what it does not allow")
			}
			s.terminate(strict)

			service := s.aditd("--allow-insecure-ciphers")
			s.connect(text)
			s.reaches(s.client, none, hostAddr)
			s.reaches(s.client, none, hostAddr6)
			four, _ := s.tunnelAddrs(s.client)
			s.reaches(s.server, serverInner, four)
			if got := s.status().Protection.Data; !strings.HasPrefix(got, of.cipher()+" (insecure) "+of.digest()) {
				t.Errorf("the status says %q", got)
			}
			if says := s.adit("status"); !strings.Contains(says, of.cipher()+" (insecure)") {
				t.Errorf("adit status says:\n%s", says)
			}
			for _, want := range []string{"INSECURE: broken ciphers", "INSECURE: this tunnel"} {
				if strings.Count(service.Out.String(), want) != 1 {
					t.Errorf("no %q in the log, or too often", want)
				}
			}
			s.adit("disconnect", "lab")
			s.terminate(server)
		})
		t.Run("endpoint/"+name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			of, p, key := of, newPKI(t), staticKey()
			of.Peers = openVPNToAdit
			k := wrapKeys{key, key}
			text := s.cellYAML(p, k, of)
			s.fails(s.server, of.cipher()+" is broken", bin(t, "adit-endpoint"), "up", "--config", s.write(s.server, "strict.yaml", text))
			server := s.endpointUp(text + "legacy: {insecure: true}\n")
			client := s.openvpnJoin(p, k, of, c.more...)
			s.reaches(s.client, none, hostAddr)
			s.reaches(s.client, none, hostAddr6)
			four, _ := s.tunnelAddrs(s.client)
			s.reaches(s.server, serverInner, four)
			list := s.connections()
			if len(list) != 1 || !strings.HasPrefix(list[0].Format, of.cipher()+" (insecure)") {
				t.Errorf("connections %+v", list)
			}
			for _, want := range []string{"INSECURE: broken ciphers", "INSECURE: this client"} {
				if strings.Count(server.Out.String(), want) != 1 {
					t.Errorf("no %q in the log, or too often", want)
				}
			}
			s.terminate(client)
		})
	}
}

// TestUserspaceRefusesBrokenCiphers: no switch reaches a tunnel that a user opens alone.
func TestUserspaceRefusesBrokenCiphers(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	s := newSite(t)
	p, key := newPKI(t), staticKey()
	of := cell{Peers: aditToOpenVPN, Transport: "udp", Wrap: "tls-crypt", Cipher: "DES-EDE3-CBC+SHA1"}
	k := wrapKeys{key, key}
	server := s.openvpnUp(p, k, of)
	s.fails(s.client, "have no data cipher in common", bin(t, "adit"), "connect", s.write(s.client, "lab.ovpn", cellProfile(p, k, of)), "--userspace", "--timeout", "20s")
	s.terminate(server)
}
