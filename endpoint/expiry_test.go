package endpoint

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestReminder: from 30 days before its end each thing is told once a day, and then that it has ended.
func TestReminder(t *testing.T) {
	now := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	g := &generation{cfg: Config{Authentication: []Authentication{{Mutual: &Mutual{}}}}}
	g.expires(ExpiryServer, "server", now.Add(40*day))
	g.expires(ExpiryCA, "Old", now.Add(-day))
	g.expires(ExpiryCA, "Old", now.Add(400*day)) // renewed under its name
	g.expires(ExpiryCRL, "", now.Add(2*day))
	g.expires(ExpiryIdP, "idp", time.Time{})
	if len(g.expiries) != 3 {
		t.Fatalf("%+v", g.expiries)
	}
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	var r reminder
	look := func(after time.Duration, want ...string) {
		t.Helper()
		text.Reset()
		r.tell(log, g, now.Add(after))
		if lines := strings.Count(text.String(), "\n"); lines != len(want) {
			t.Errorf("after %v: %d lines, want %d: %s", after, lines, len(want), text.String())
		}
		for _, w := range want {
			if !strings.Contains(text.String(), w) {
				t.Errorf("after %v: no %q in %s", after, w, text.String())
			}
		}
	}
	look(0, "the revocation list expires soon: then all clients with certificates are refused")
	look(23*time.Hour, nil...)
	look(day, "adit-endpoint pki crl, then adit-endpoint reload")
	look(3*day, "the revocation list has expired: all clients with certificates are refused")
	look(10*day+time.Hour, "the revocation list has expired", "the server's certificate expires soon")
	look(10*day+2*time.Hour, nil...)
	// Its successor lasts: nothing more of it.
	g.expiries[2].End = now.Add(200 * day)
	look(41*day, "the server's certificate has expired: clients refuse the endpoint")
}
