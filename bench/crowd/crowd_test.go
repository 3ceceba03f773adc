//go:build linux

package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// TestMain is the crowd's process when the test starts itself as one.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-load" {
		if err := serveLoad(context.Background(), os.Args[2]); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestCrowd: a small crowd and a small storm are all connected, and none costs much memory. The bound has
// room for what an endpoint without any client needs.
func TestCrowd(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	bin := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "github.com/adit-vpn/adit/cmd/adit-endpoint")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, args := range map[string][]string{
		"many sources": {"-clients", "150", "-storm", "50", "-quiet", "200ms"},
		"one source":   {"-clients", "50", "-storm", "150", "-sources", "1", "-quiet", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), append(args, "-bin", bin, "-hold", "100ms", "-json"), &out); err != nil {
				t.Fatal(err)
			}
			var r Result
			if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
				t.Fatal(err)
			}
			if r.Connected != 200 || len(r.Lost)+len(r.Clients.Failed)+len(r.Storm.Failed) > 0 {
				t.Errorf("not all are connected:\n%s", &r)
			}
			if grown := (r.Memory - r.Before) / 200; grown > 200<<10 {
				t.Errorf("%d bytes for each client", grown)
			}
			if r.Storm.Max <= 0 || r.Storm.P50 > r.Storm.Max || r.Storm.Rate() <= 0 {
				t.Errorf("storm: %+v", r.Storm)
			}
			if w := r.Busy; name == "many sources" && (w.Sent == 0 || w.Pings == 0 || w.NoAnswer == w.Pings || w.Lost == w.Sent) {
				t.Errorf("nothing came through: %+v", w)
			}
		})
	}
}

func TestArguments(t *testing.T) {
	for _, args := range []string{"", "-clients -1", "-clients 1 -storm 28000", "-clients 1 -server other", "-clients 1 more", "-clients 1 -at-once 0", "-bad"} {
		if _, err := parse(strings.Fields(args)); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	o, err := parse(strings.Fields("-storm 5 -sources 1 -hold 3s -bin " + filepath.Join("some", "where")))
	if err != nil || o.storm != 5 || o.sources != 1 || o.hold != 3*time.Second {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestProcFiles(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t    1024 kB\n"
	if n, err := statusLine(status, "VmRSS:"); n != 1<<20 || err != nil {
		t.Errorf("VmRSS: %d, %v", n, err)
	}
	for _, bad := range []string{"", "VmRSS: much kB\n"} {
		if _, err := statusLine(bad, "VmRSS:"); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	d, err := parseUsed("12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0")
	if d != 2*time.Second || err != nil {
		t.Errorf("stat: %v, %v", d, err)
	}
	if _, err := parseUsed("12 (a) S 1 2"); err == nil {
		t.Error("a short stat was taken")
	}
	if now, highest, err := memory(os.Getpid()); err != nil || now <= 0 || highest < now {
		t.Errorf("memory: %d, %d, %v", now, highest, err)
	}
}

func TestHeader(t *testing.T) {
	b := header(netip.MustParseAddr("10.64.0.2"), netip.MustParseAddr("10.0.0.5"), 17, 100)
	var sum uint32
	for i := 0; i < ipv4.HeaderLen; i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if sum = sum>>16 + sum&0xffff; sum != 0xffff {
		t.Errorf("checksum: the sum is %x", sum)
	}
	h, err := ipv4.ParseHeader(b)
	if err != nil || h.Src.String() != "10.64.0.2" || h.Dst.String() != "10.0.0.5" || h.Protocol != 17 || len(b) != 100 {
		t.Errorf("%v, %v", h, err)
	}
}
