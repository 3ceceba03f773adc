package endpoint

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
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
	ca := func(key string, days time.Duration) {
		g.expiresCA(&x509.Certificate{Subject: pkix.Name{CommonName: "Old"}, RawSubjectPublicKeyInfo: []byte(key), NotAfter: now.Add(days * day)})
	}
	ca("one", -1)
	ca("one", 400) // renewed
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

// TestExpiryOfCAs: a CA of the same name with another key hides nothing, and each has a name of its own.
func TestExpiryOfCAs(t *testing.T) {
	g, now := &generation{}, time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	for i, key := range []string{"one", "two", "two", "one", "three"} {
		g.expiresCA(&x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, RawSubjectPublicKeyInfo: []byte(key), NotAfter: now.AddDate(0, 0, i)})
	}
	days, names := "", map[string]bool{}
	for _, e := range g.expiries {
		days += fmt.Sprint(e.End.Sub(now).Hours()/24, " ")
		names[e.Name] = true
	}
	if days != "3 2 4 " || len(names) != 3 || !names["CA"] {
		t.Errorf("%q %v", days, names)
	}
}
