package view

import (
	"context"
	"strings"
	"testing"
	"unicode"

	"github.com/adit-vpn/adit/client/source"
)

// TestImportSpeaks: what a check finds, and why a text cannot be read, is said in the app's language.
func TestImportSpeaks(t *testing.T) {
	japanese := func(s string) bool {
		return strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.Hiragana, unicode.Katakana, unicode.Han) })
	}
	var text string
	bubble(t, func(t *testing.T) {
		r := up(t, func(c *Config, _ *service) {
			c.Locales = []string{"ja"}
			c.Read = func(context.Context, string) (source.Source, error) {
				return source.Source{Title: "client.ovpn", Name: "office", Text: []byte(text)}, nil
			}
		})
		text = "client\nremote h 99999\nproto x\nup /bin/sh\ncipher BF-CBC\ndev tap\nca ca.crt\nnovel 1\nverify-novel 1\n<key>\nx\n</key>\n<connection>\nremote a\n"
		r.m.ImportFile("client.ovpn")
		d := r.dialog(DialogImport)
		if len(d.Import.Findings) < 10 {
			t.Fatal(dump(d))
		}
		for _, f := range d.Import.Findings {
			if !japanese(f.Text) {
				t.Errorf("not Japanese: %q", f.Text)
			}
		}
		for _, broken := range []string{"client\n<ca>\n", "client\nx\x00\n", "\xff\xfec\x00"} {
			text = broken
			r.m.ImportFile("client.ovpn")
			d := r.dialog(DialogImport)
			words := strings.Trim(d.Notice.Text, "0123456789行目：")
			if !japanese(words) || strings.Contains(d.Notice.Text, "never closed") || strings.Contains(d.Notice.Text, "NUL byte") {
				t.Errorf("%q: %q", broken, d.Notice.Text)
			}
		}
	})
}
