package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/adit-vpn/adit/endpoint"
)

// TestLogFile: lines stay whole, in order, over full files, files that others move away, and a torn end.
func TestLogFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "connections.jsonl")
	if err := os.WriteFile(name, []byte("one\ntor"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(name, 20, 2)
	if err != nil {
		t.Fatal(err)
	}
	write := func(line string) {
		t.Helper()
		if n, err := l.Write([]byte(line + "\n")); err != nil || n != len(line)+1 {
			t.Fatalf("%d %v", n, err)
		}
	}
	check := func(file, want string) {
		t.Helper()
		if b, err := os.ReadFile(name + file); err != nil || string(b) != want {
			t.Errorf("%s: %q %v, want %q", file, b, err, want)
		}
	}
	write("two")
	check("", "one\ntor\ntwo\n")
	write("nine more")
	check(".1", "one\ntor\ntwo\n")
	check("", "nine more\n")
	write("ten others")
	write("eleven others")
	check("", "eleven others\n")
	check(".1", "ten others\n")
	check(".2", "nine more\n")
	if left, _ := filepath.Glob(name + "*"); len(left) != 3 {
		t.Errorf("%q", left)
	}
	write("this line alone is longer than a file may be") // and is kept all the same
	check("", "this line alone is longer than a file may be\n")

	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	write("somebody else has put the full one aside")
	check("", "somebody else has put the full one aside\n")
	check(".1", "eleven others\n")
	l.Close()
	if l, err = openLogFile(name, 1000, 2); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name, name+".away"); err != nil {
		t.Fatal(err)
	}
	write("nobody has said anything")
	check(".away", "somebody else has put the full one aside\nnobody has said anything\n")
	if err := l.reopen(); err != nil {
		t.Fatal(err)
	}
	write("new")
	check("", "new\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	write("again")
	check("", "new\nagain\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	if _, err := openLogFile(t.TempDir(), 20, 2); err == nil {
		t.Error("a folder is taken for a file")
	}
	if _, err := openLogFile("/dev/null", 20, 2); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a device: %v", err)
	}
}

// TestLogFileStays: one that cannot be put aside loses nothing, and says so once for each size.
func TestLogFileStays(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	if err := os.MkdirAll(name+".1/not empty", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := openLogFile(name, 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	said := 0
	for i := range 30 {
		n, err := fmt.Fprintf(l, "line %04d\n", i)
		if n != 10 {
			t.Fatalf("line %d: %d %v", i, n, err)
		}
		if err != nil {
			said++
		}
	}
	b, err := os.ReadFile(name)
	if err != nil || strings.Count(string(b), "\n") != 30 || said != 2 {
		t.Errorf("%d lines, told %d times, %v", strings.Count(string(b), "\n"), said, err)
	}
	if err := os.RemoveAll(name + ".1"); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(l, "line 0030")
	if b, err := os.ReadFile(name); err != nil || string(b) != "line 0030\n" {
		t.Errorf("%q %v", b, err)
	}
}

// TestLogFileTogether: many writers, no line torn, none lost.
func TestLogFileTogether(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	l, err := openLogFile(name, 1000, 1000)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 100 {
				fmt.Fprintf(l, "writer %d line %d\n", w, i)
			}
		})
	}
	all.Wait()
	files, _ := filepath.Glob(name + "*")
	seen := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || len(b) > 1000 {
			t.Errorf("%s: %d bytes %v", f, len(b), err)
		}
		for line := range strings.Lines(string(b)) {
			var w, i int
			if n, _ := fmt.Sscanf(line, "writer %d line %d\n", &w, &i); n != 2 || seen[line] {
				t.Errorf("%q", line)
			}
			seen[line] = true
		}
	}
	if len(seen) != 800 {
		t.Errorf("%d lines", len(seen))
	}
}

// TestConnectionLogToCloudWatch: what the endpoint has written is there when the log is closed.
func TestConnectionLogToCloudWatch(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CA_BUNDLE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "eu-west-1"} {
		t.Setenv(k, v)
	}
	bodies := make(chan string, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- q.Header.Get("X-Amz-Target") + string(body)
		fmt.Fprint(w, "{}")
	}))
	defer server.Close()
	cfg := endpoint.Config{ConnectionLog: endpoint.ConnectionLog{CloudWatch: endpoint.CloudWatch{Group: "vpn", URL: server.URL}}}
	l, err := openConnectionLog(t.Context(), cfg, "cvpn-endpoint-1", io.Discard, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(l.to, "a line\n"); err != nil {
		t.Error(err)
	}
	l.close()
	if got := <-bodies; !strings.HasPrefix(got, "Logs_20140328.PutLogEvents{") || !strings.Contains(got, `"message":"a line"`) || !strings.Contains(got, `"logStreamName":"cvpn-endpoint-1"`) {
		t.Errorf("sent %s", got)
	}
	t.Setenv("AWS_REGION", "")
	t.Setenv("AWS_DEFAULT_REGION", "")
	if _, err := openConnectionLog(t.Context(), cfg, "", io.Discard, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "connection_log: CloudWatch Logs: region is missing") {
		t.Errorf("without a region: %v", err)
	}
}
