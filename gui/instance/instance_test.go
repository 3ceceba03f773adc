package instance

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/platform/ipc"
)

// TestSecond: a later instance hands over what it was asked for; when the first is gone, the next one is first.
func TestSecond(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a b.ovpn")
	first, err := First(dir, Request{})
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	got := make(chan Request, 3)
	var wg sync.WaitGroup
	wg.Go(func() { first.Serve(ctx, func(r Request) { got <- r }) })
	for _, want := range []Request{{Open: []string{file, "https://vpn.example.com/p"}}, {Hidden: true}} {
		second, err := First(dir, want)
		if second != nil || err != nil {
			t.Fatal(second, err)
		}
		if r := <-got; !reflect.DeepEqual(r, want) {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
	stop()
	wg.Wait()
	if second, err := First(dir, Request{}); second != nil || err == nil {
		t.Errorf("an instance that does not answer any more: %v, %v", second, err)
	}
	first.Close()
	again, err := First(dir, Request{})
	if err != nil || again == nil {
		t.Fatal(again, err)
	}
	again.Close()
}

// TestNoSocket: where none can be made, one instance runs, and a later one says so.
func TestNoSocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30)) // no system's sockets have such names
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	first, err := First(dir, Request{})
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if second, err := First(dir, Request{}); second != nil || err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("a second one: %v, %v", second, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	first.Serve(ctx, func(r Request) { t.Errorf("asked for %+v", r) })
	first.Close()
	again, err := First(dir, Request{})
	if err != nil || again == nil {
		t.Fatal(again, err)
	}
	again.Close()
}

// TestHostile: what no instance would send is not handed on, and keeps nobody waiting for long.
func TestHostile(t *testing.T) {
	dir := t.TempDir()
	first, err := First(dir, Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	got := make(chan Request, 10)
	wg.Go(func() { first.Serve(ctx, func(r Request) { got <- r }) })
	for _, text := range []string{"", "x", `{"open":["relative.ovpn"]}`, `{"open":["http://example.com/p"]}`, `{"open":["file:///etc/passwd"]}`, `{"open":["` + strings.Repeat("a", 2*maxRequest) + `"]}`} {
		c, err := ipc.Dial(t.Context(), filepath.Join(dir, "adit-gui.sock"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write([]byte(text))
		if u, ok := c.(*net.UnixConn); ok {
			_ = u.CloseWrite()
		}
		_ = c.SetReadDeadline(time.Now().Add(2 * instanceTime))
		if n, _ := c.Read(make([]byte, 3)); n != 0 {
			t.Errorf("%.40q is taken", text)
		}
		c.Close()
	}
	if len(got) != 0 {
		t.Errorf("handed on: %+v", <-got)
	}
}

func TestToOpen(t *testing.T) {
	here, err := filepath.Abs("a.ovpn")
	if err != nil {
		t.Fatal(err)
	}
	root := "/x/a.ovpn"
	if runtime.GOOS == "windows" {
		root = `C:\x\a.ovpn`
	}
	for arg, want := range map[string]string{
		"a.ovpn": here, root: root, "https://vpn.example.com/p?q=1": "https://vpn.example.com/p?q=1",
		"openvpn://import-profile/https://vpn.example.com/p": "https://vpn.example.com/p",
		"adit://import-profile/https://vpn.example.com/p":    "https://vpn.example.com/p",
		"": "", "http://vpn.example.com/p": "", "openvpn://import-profile/http://vpn.example.com/p": "", "openvpn://connect/x": "", "https://": "",
		"openvpn://import-profile/file:///etc/shadow": "", "openvpn://import-profile/": "", "openvpn://import-profile//etc/shadow": "", "adit://import-profile/a.ovpn": "",
		"file://elsewhere/x/a.ovpn": "", "file://": "", "openvpn://import-profile/file://localhost/x/a.ovpn": "",
	} {
		got, err := ToOpen(arg)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", arg, got, err, want)
		}
	}
	for arg, want := range map[string]string{"file:///x/a%20b.ovpn": "/x/a b.ovpn", "file://localhost/x/../a.ovpn": "/a.ovpn"} {
		got, err := ToOpen(arg)
		if runtime.GOOS == "windows" { // where files have a drive, and the shell gives names
			want = ""
		}
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q is %q, %v; want %q", arg, got, err, want)
		}
	}
}
