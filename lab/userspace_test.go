//go:build linux

package lab

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUserspace runs both ends as nobody, without rights and without a
// configuration: the endpoint's demo network is fetched through an HTTP proxy and a
// forward of adit connect FILE --userspace, and nothing of the machine changes.
func TestUserspace(t *testing.T) {
	t.Parallel()
	needs(t, "setpriv")
	s := newSite(t)
	nobody := func(argv ...string) []string {
		return append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all"}, argv...)
	}
	s.ok(os.Chmod(filepath.Dir(s.server.Dir), 0o755))
	for _, n := range []*Node{s.client, s.server} {
		s.ok(os.Chown(n.Dir, 65534, 65534))
	}
	e := s.start(s.server, "adit-endpoint", nobody(bin(t, "adit-endpoint"), "up", "--data", s.dataDir(), "--listen", "198.51.100.1:1194")...)
	s.ok(e.WaitFor("profile: ", soon))
	profile, err := os.ReadFile(filepath.Join(s.dataDir(), "client.ovpn"))
	s.ok(err)
	file := s.write(s.client, "client.ovpn", string(profile))
	s.ok(os.Chown(file, 65534, 65534))
	before := s.system()
	adit := bin(t, "adit")
	socket := filepath.Join(s.client.Dir, "adit.sock")
	c := s.start(s.client, "adit", nobody(adit, "connect", file, "--userspace", "--status-socket", socket,
		"--http-proxy", "127.0.0.1:8080", "--forward", "127.0.0.1:8081=10.98.0.1:80")...)
	s.ok(c.WaitFor("connected", soon))

	fetch := func(from *Node, proxy, address string) string {
		t.Helper()
		tr := &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (net.Conn, error) {
			return from.Dial(network, addr, time.Second)
		}}
		if proxy != "" {
			u, err := url.Parse(proxy)
			s.ok(err)
			tr.Proxy = http.ProxyURL(u)
		}
		defer tr.CloseIdleConnections()
		res, err := (&http.Client{Transport: tr, Timeout: soon}).Get(address)
		s.ok(err)
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		s.ok(err)
		return string(b)
	}
	for _, page := range []string{fetch(s.client, "http://127.0.0.1:8080", "http://10.98.0.1/"), fetch(s.client, "", "http://127.0.0.1:8081/")} {
		if !strings.Contains(page, "10.64.0.2") {
			t.Errorf("the page does not show the client's address: %s", page)
		}
	}
	if list := s.connections(); len(list) != 1 || list[0].RxBytes == 0 {
		t.Errorf("connections: %+v", list)
	}
	if out := s.run(s.client, nobody(adit, "--socket", socket, "status")...); !strings.Contains(out, "10.64.0.2") {
		t.Errorf("status: %s", out)
	}
	s.same("while connected", before, s.system())
	s.terminate(c)

	// A script reads until the tunnel is ready, and leaves; the next event finds no reader. Proxies with credentials ask for
	// them, and serve other machines.
	auth := s.write(s.client, "auth", "ann:a:b\n")
	s.ok(os.Chown(auth, 65534, 65534))
	c = s.start(s.client, "adit", nobody("sh", "-c", `cd "$1" && mkfifo events && { grep -m1 '"event":"ready"' events >ready & } && exec "$0" connect "$2" --userspace --json --http-proxy 0.0.0.0:8080 --socks5 0.0.0.0:1080 --proxy-auth-file "$3" >events`,
		adit, s.client.Dir, file, auth)...)
	s.until(soon, "the script read that the tunnel is ready", func() bool {
		line, _ := os.ReadFile(filepath.Join(s.client.Dir, "ready"))
		return strings.HasSuffix(string(line), "\n")
	})
	for proxy, want := range map[string]string{
		"http://ann:a%3Ab@198.51.100.2:8080": "10.64.0.2", "socks5://ann:a%3Ab@198.51.100.2:1080": "10.64.0.2",
		"http://198.51.100.2:8080": "proxy credentials wanted", "http://ann:b@198.51.100.2:8080": "proxy credentials wanted",
	} {
		if page := fetch(s.server, proxy, "http://10.98.0.1/"); !strings.Contains(page, want) {
			t.Errorf("by %s: %s, want %q", proxy, page, want)
		}
	}
	none, err := s.server.Dial("tcp", "198.51.100.2:1080", time.Second)
	s.ok(err)
	defer none.Close()
	s.ok(none.SetDeadline(time.Now().Add(soon)))
	none.Write([]byte{5, 1, 0}) // no authentication
	if answer, err := io.ReadAll(none); err != nil || string(answer) != "\x05\xff" {
		t.Errorf("SOCKS5 without credentials: % x, %v; want to be refused", answer, err)
	}
	s.terminate(c)
	s.until(atOnce, "the endpoint sees that the client left", func() bool { return len(s.connections()) == 0 })
	if _, err := os.Stat(socket); err == nil {
		t.Error("the socket is left behind")
	}
	s.terminate(e)
}

// TestUserspaceFailures: the same causes in the foreground.
func TestUserspaceFailures(t *testing.T) {
	t.Parallel()
	needs(t)
	s := newSite(t)
	p, key := newPKI(t), staticKey()
	fails := func(profile, says string) {
		t.Helper()
		s.fails(s.client, says, bin(t, "adit"), "connect", s.write(s.client, "lab.ovpn", profile), "--userspace", "--timeout", failTimeout.String())
	}
	fails(clientProfile(p, "udp", "plain", ""), "no answer from 198.51.100.1:1194")
	fails(clientProfile(p, "tcp", "plain", ""), "no answer from 198.51.100.1:1194")
	s.endpointUp(s.yaml(p, key, endpointConfig{Transport: "tcp", Wrap: "tls-crypt", Rules: vpcRules()}))
	fails(clientProfile(p, "tcp", "tls-crypt", staticKey()), "the tls-auth, tls-crypt or tls-crypt-v2 key does not match")
	other := newPKI(t)
	other.client = p.client
	fails(clientProfile(other, "tcp", "tls-crypt", key), "is not signed by a CA that the profile trusts")
	fails("client\nremote 198.51.100.1\nscript-security 2\nup /bin/true\n", "ca")
	if n := len(s.connections()); n != 0 {
		t.Errorf("%d connections", n)
	}
}
