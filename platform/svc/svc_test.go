package svc

import (
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

func TestEvents(t *testing.T) {
	var got []string
	e := NewEvents(func(level slog.Level, text string) error {
		got = append(got, level.String()+" "+text)
		return nil
	})
	log := slog.New(e.Handler())
	log.Info("listening", "socket", `\\.\pipe\adit`)
	log.Debug("nobody wants to know")
	log.With("profile", "work").WithGroup("a").Warn("slow", "level", 3)
	if n, err := e.Write([]byte("aditd: it failed\nhint: do this\n")); n != 31 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	want := []string{`INFO msg=listening socket=\\.\pipe\adit`, "WARN msg=slow profile=work a.level=3", "ERROR aditd: it failed\nhint: do this"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	got = nil
	e.Write([]byte("a" + strings.Repeat("日", maxEvent)))
	e.Write([]byte("a\x00b"))
	if len(got[0]) > maxEvent+10 || !utf8.ValidString(got[0]) || len(got[0]) < maxEvent-10 {
		t.Errorf("a long text is %d bytes", len(got[0]))
	}
	if strings.Contains(got[1], "\x00") {
		t.Error("a text with a zero byte passes")
	}
	got = nil
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { log.Info("at once") })
	}
	all.Wait()
	if len(got) != 20 || strings.Count(strings.Join(got, "\n"), "INFO msg=\"at once\"") != 20 {
		t.Errorf("%q", got)
	}
}
