package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/platform/ipc"
)

// TestImportFromCutShort: what was imported before the service went away is told.
func TestImportFromCutShort(t *testing.T) {
	dir, err := os.MkdirTemp("", "adit-") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{"first", "second"} {
		text := "client\nremote vpn.example 443\nremote-cert-tls server\nauth-user-pass\npeer-fingerprint " + strings.TrimSuffix(strings.Repeat("ab:", 32), ":") + "\n"
		if err := os.WriteFile(filepath.Join(dir, name+".ovpn"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	socket := filepath.Join(dir, "s")
	l, err := ipc.Listen(socket, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { // a service that answers once
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			_, err = http.ReadRequest(bufio.NewReader(conn))
		}
		l.Close()
		if err == nil {
			const answer = `{"name":"first"}`
			_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
		}
		served <- err
	}()
	var out, errs bytes.Buffer
	code := execute(t.Context(), []string{"--socket", socket, "import", "--from", "openvpn", "--json", dir}, func(string) string { return "" }, &out, &errs)
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	var results []taken
	if err := json.Unmarshal(out.Bytes(), &results); err != nil || len(results) != 1 || results[0].Name != "first" || results[0].Result != "imported" {
		t.Errorf("%s, %v", out.String(), err)
	}
	if code != 1 || !strings.Contains(errs.String(), "cannot reach the service at ") {
		t.Errorf("%d: %s", code, errs.String())
	}
}
