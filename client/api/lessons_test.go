//go:build linux || darwin

package api_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/ipc"
)

// Tests of what went wrong elsewhere; docs/security-lessons.md has the list.

// A helper with more rights than its callers took messages of any length (2024-27459), fell over
// malformed ones (2018-9336), and ended for everybody when one caller sent nonsense (2025-13751).
func TestCVE_2024_27459_2018_9336_2025_13751_HostileMessages(t *testing.T) {
	f := &fake{}
	socket, _ := serve(t, api.NewServer(f, everybody, slog.New(slog.DiscardHandler)))
	send := func(raw string) string {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		go io.WriteString(conn, raw) // ends with conn
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return "closed"
		}
		defer r.Body.Close()
		return r.Status
	}
	post := func(path, body string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: " +
			strconv.Itoa(len(body)) + "\r\n\r\n" + body
	}
	deep := strings.Repeat(`{"profile":`, 20000)
	for name, raw := range map[string]string{
		"a body far over the bound":   post("/v1/connect", `{"profile":"`+strings.Repeat("x", 4<<20)+`"}`),
		"a length that is a lie":      "POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
		"a negative length":           "POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n{}",
		"two lengths":                 "POST /v1/connect HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
		"a head without an end":       "GET /v1/status HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("x", 2<<20),
		"no HTTP":                     strings.Repeat("\x00\xff", 4096) + "\r\n\r\n",
		"very deep":                   post("/v1/connect", deep),
		"not JSON":                    post("/v1/connect", "\x00\x01\x02"),
		"another type":                post("/v1/connect", `[{"profile":{}}]`),
		"a number beyond all":         post("/v1/connect", `{"profile":"x","timeout":1e999}`),
		"the same field in two forms": post("/v1/connect", `{"profile":"x","PROFILE":["y"]}`),
		"a command line":              post("/v1/connect", `{"profile":"x","options":"--up /evil"}`),
		"a path outside":              "GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		if got := send(raw); strings.HasPrefix(got, "2") || strings.HasPrefix(got, "5") && !strings.HasPrefix(got, "505") {
			t.Errorf("%s: %s", name, got)
		}
		if call := f.last(); call != nil {
			t.Errorf("%s reaches the service as %v", name, call)
		}
	}
	c := api.NewClient(socket)
	defer c.Close()
	if s, err := c.Status(t.Context()); err != nil || s.Sequence != 7 {
		t.Errorf("after all that: %+v, %v", s, err)
	}
}

// The helper's pipe could be reached from other machines. Ours takes nothing but a local socket
// whose other end the kernel names; a caller without a name may do nothing.
func TestCVE_2024_24974_OnlyLocalCallers(t *testing.T) {
	f := &fake{}
	server := api.NewServer(f, everybody, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	defer func() { cancel(); <-done }()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for _, r := range []*http.Request{
		httptest.NewRequest("GET", "http://"+l.Addr().String()+"/v1/status", nil),
		httptest.NewRequest("POST", "http://"+l.Addr().String()+"/v1/disconnect", bytes.NewReader([]byte("{}"))),
	} {
		r.RequestURI = ""
		w, err := client.Do(r)
		if err == nil {
			w.Body.Close()
		}
		if err == nil && w.StatusCode != http.StatusForbidden {
			t.Errorf("%s over TCP: %s", r.URL.Path, w.Status)
		}
	}
	if call := f.last(); call != nil {
		t.Errorf("the service was asked %v", call)
	}
}

// A user interface talked to whoever had made the pipe first, with its own rights. Our service
// neither takes a socket over that somebody else still serves, nor acts with its caller's rights.
func TestCVE_2024_4877_NobodyElsesSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	other, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l, err := ipc.Listen(socket, 0o666)
	if err == nil {
		l.Close()
	}
	if !errors.Is(err, ipc.ErrInUse) {
		t.Errorf("the socket of another: %v", err)
	}
}
