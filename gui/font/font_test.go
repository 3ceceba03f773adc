package font_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	typesetting "github.com/go-text/typesetting/font"

	"github.com/adit-vpn/adit/gui/font"
)

// TestEveryWordCanBeWritten: the fonts have every Japanese sign of the app's words, hiragana and katakana, and no Latin
// letters, which are another font's.
func TestEveryWordCanBeWritten(t *testing.T) {
	words := ""
	files, err := filepath.Glob("../i18n/*.go")
	if err != nil || len(files) < 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		words += string(b)
	}
	for name, data := range map[string][]byte{"regular": font.Japanese(), "bold": font.JapaneseBold()} {
		face, err := typesetting.ParseTTF(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range words + "あんアンー、。「」（）々東京渋谷横浜札幌" {
			if _, ok := face.NominalGlyph(r); (r >= 0x3000 || r == ' ') && !ok {
				t.Errorf("%s has no %c (%U)", name, r, r)
			}
		}
		for _, r := range "Ag0" {
			if _, ok := face.NominalGlyph(r); ok {
				t.Errorf("%s has %q", name, r)
			}
		}
	}
}
