package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/adit-vpn/adit/platform/durable"
)

// preferencesVersion is the newest form of the file that this version writes.
const preferencesVersion = 1

// maxPreferences bounds the file, in bytes.
const maxPreferences = 1 << 20

// preferences are the app's own settings, kept in one JSON file of the person's. What a newer version put there is
// kept as it is.
type preferences struct {
	Language      string // "auto", "en" or "ja"
	Theme         string // "auto", "light" or "dark"
	TextSize      string // "normal", "large" or "largest"
	Notifications bool
	OnClose       OnClose
	// BackgroundTold says that the person was told how to get the window back where there is no tray.
	BackgroundTold bool
	// CertificatesTold are the ends of certificates that the person was told about, by profile.
	CertificatesTold map[string]time.Time

	unknown map[string]json.RawMessage // keys of another version
}

func defaultPreferences() preferences {
	return preferences{Language: "auto", Theme: "auto", TextSize: "normal", Notifications: true, OnClose: CloseAsks, CertificatesTold: map[string]time.Time{}}
}

var (
	languages = []string{"auto", "en", "ja"}
	themes    = []string{"auto", "light", "dark"}
	textSizes = []string{"normal", "large", "largest"}
	onCloses  = []OnClose{CloseAsks, CloseHides, CloseQuits}
)

// parsePreferences reads the file's content. A value that makes no sense is as if it were not there.
func parsePreferences(b []byte) (preferences, error) {
	p := defaultPreferences()
	if err := json.Unmarshal(b, &p.unknown); err != nil {
		return defaultPreferences(), errors.New("it is not a JSON object")
	}
	take(p.unknown, "language", &p.Language, func(s string) bool { return slices.Contains(languages, s) })
	take(p.unknown, "theme", &p.Theme, func(s string) bool { return slices.Contains(themes, s) })
	take(p.unknown, "text_size", &p.TextSize, func(s string) bool { return slices.Contains(textSizes, s) })
	take(p.unknown, "notifications", &p.Notifications, nil)
	take(p.unknown, "on_close", &p.OnClose, func(c OnClose) bool { return slices.Contains(onCloses, c) })
	take(p.unknown, "background_told", &p.BackgroundTold, nil)
	take(p.unknown, "certificates_told", &p.CertificatesTold, func(m map[string]time.Time) bool { return m != nil })
	return p, nil
}

// take moves a key out of an object into a variable, if it has the right form.
func take[T any](object map[string]json.RawMessage, key string, to *T, ok func(T) bool) {
	var v T
	if raw, there := object[key]; there && json.Unmarshal(raw, &v) == nil && string(raw) != "null" && (ok == nil || ok(v)) {
		*to = v
	}
	delete(object, key)
}

// encode writes the file's content.
func (p preferences) encode() ([]byte, error) {
	out := map[string]any{}
	for k, v := range p.unknown {
		out[k] = v
	}
	if _, newer := out["version"]; !newer {
		out["version"] = preferencesVersion
	}
	out["language"], out["theme"], out["text_size"], out["notifications"] = p.Language, p.Theme, p.TextSize, p.Notifications
	out["on_close"], out["background_told"] = p.OnClose, p.BackgroundTold
	if len(p.CertificatesTold) > 0 {
		out["certificates_told"] = p.CertificatesTold
	}
	b, err := json.MarshalIndent(out, "", "  ")
	return append(b, '\n'), err
}

// loadPreferences reads the file; that there is none is fine.
func loadPreferences(path string) (preferences, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return defaultPreferences(), nil
	case err != nil:
		return defaultPreferences(), err
	case !info.Mode().IsRegular():
		return defaultPreferences(), errors.New("it is not a plain file")
	case info.Size() > maxPreferences:
		return defaultPreferences(), fmt.Errorf("it has %d bytes", info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return defaultPreferences(), err
	}
	return parsePreferences(b)
}

// savePreferences replaces the file whole, and makes its directory, readable for the person only.
func savePreferences(path string, p preferences) error {
	b, err := p.encode()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return durable.Write(path, b, 0o600)
}
