package source

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

// TestForeign: a file of another kind is called what it is; what may be a profile, be it damaged, is Parse's to judge.
func TestForeign(t *testing.T) {
	for text, want := range map[string]string{
		"":                                api.FileEmpty,
		"\xef\xbb\xbf \r\n":               api.FileEmpty,
		"%PDF-1.7\n%\xe2\xe3\xcf\xd3":     api.FilePDF,
		"PK\x03\x04\x14\x00remote a":      api.FileArchive,
		"\x1f\x8b\x08\x00":                api.FileArchive,
		"\x89PNG\r\n\x1a\n":               api.FilePicture,
		"\n<!doctype html>\nclient\n":     api.FileWebPage,
		"<HTML><body>Sign in</body>":      api.FileWebPage,
		"<?xml version=\"1.0\"?>":         api.FileWebPage,
		"[Interface]\nPrivateKey = x\n":   api.FileWireGuard,
		"\x7fELF\x02\x01\x01\x00":         api.FileBinary,
		"\xde\xad\xbe\xef":                api.FileBinary,
		"Dear Ann,\nhere is the VPN.\n":   api.FileText,
		"# only a comment\n":              api.FileText,
		"client\nremote a\n":              "",
		"\xef\xbb\xbfremote a\r\n":        "",
		"  --remote a\n":                  "",
		"\tverb\t3\n":                     "",
		"verb 3\x00\n":                    "",
		"# caf\xe9\nclient\n":             "",
		"x\n<ca>\n":                       "",
		"<connection>\nremote a\n":        "",
		"\xff\xfec\x00l\x00i\x00":         "",
		strings.Repeat("x", 70000) + "\n": api.FileText,
	} {
		if got := foreign([]byte(text)); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
	file := filepath.Join(t.TempDir(), "invoice.pdf")
	if err := os.WriteFile(file, []byte("%PDF-1.7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(t.Context(), http.DefaultClient, file); !api.IsCode(err, api.CodeNotAProfile) || !strings.Contains(err.Error(), "invoice.pdf is no OpenVPN profile: it is a PDF document") {
		t.Error(err)
	}
}

func FuzzForeign(f *testing.F) {
	f.Add([]byte("client\nremote a\n"))
	f.Add([]byte("%PDF-"))
	f.Add([]byte("\xff\xfea\x00"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		if foreign(text); string(text) != before {
			t.Fatal("the text was changed")
		}
	})
}
