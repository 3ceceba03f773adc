package source

import (
	"bytes"
	"unicode/utf8"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
)

// foreign says what a file is that people take for a profile; empty: it may be one. The words are those of the
// problem's argument {what}.
func foreign(text []byte) string {
	begins := func(with ...string) bool {
		for _, w := range with {
			if len(text) >= len(w) && bytes.EqualFold(text[:len(w)], []byte(w)) {
				return true
			}
		}
		return false
	}
	utf16 := begins("\xff\xfe", "\xfe\xff") // Parse has words for it
	text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	switch {
	case len(text) == 0:
		return api.FileEmpty
	case begins("%PDF-"):
		return api.FilePDF
	case begins("PK\x03\x04", "PK\x05\x06", "\x1f\x8b", "7z\xbc\xaf\x27\x1c", "Rar!\x1a\x07", "BZh", "\xfd7zXZ\x00"):
		return api.FileArchive
	case begins("\x89PNG", "\xff\xd8\xff", "GIF8"):
		return api.FilePicture
	case begins("<!DOCTYPE", "<html", "<head", "<?xml"):
		return api.FileWebPage
	case utf16 || profile.Mentions(text):
		return ""
	case bytes.Contains(text, []byte("[Interface]")):
		return api.FileWireGuard
	case bytes.IndexByte(text, 0) >= 0 || !utf8.Valid(text):
		return api.FileBinary
	}
	return api.FileText
}
