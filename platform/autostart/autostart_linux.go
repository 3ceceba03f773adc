package autostart

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// The list is a directory of desktop entries (Desktop Application Autostart Specification 0.5).

// maxEntry bounds what is read of an entry, bytes.
const maxEntry = 64 << 10

func (e Entry) file() (string, error) {
	dir, err := os.UserConfigDir() // XDG_CONFIG_HOME
	return filepath.Join(dir, "autostart", e.ID+".desktop"), err
}

// Enabled says whether the program starts with the session. An entry that the desktop's own settings have switched off
// is not enabled.
func (e Entry) Enabled() (bool, error) {
	file, err := e.file()
	if err != nil {
		return false, err
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(string(text[:min(len(text), maxEntry)])) {
		switch strings.ReplaceAll(strings.TrimSpace(line), " ", "") {
		case "Hidden=true", "X-GNOME-Autostart-enabled=false":
			return false, nil
		}
	}
	return true, nil
}

// text is the entry's file.
func (e Entry) text() ([]byte, error) {
	if strings.Contains(e.Program, "%") { // GLib looks for the program before it reads %% as %
		return nil, fmt.Errorf("%q has a %% in its name, which desktops do not find", e.Program)
	}
	words := []string{quote(e.Program)}
	for _, a := range e.Args {
		words = append(words, quote(a))
	}
	return []byte("[Desktop Entry]\nType=Application\nVersion=1.5\nName=" + escape(e.Name) + "\nExec=" + escape(strings.Join(words, " ")) + "\nTerminal=false\n"), nil
}

// quote makes one argument of Exec (Desktop Entry Specification 1.5, "The Exec key").
func quote(arg string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, "`", "\\`", `$`, `\$`, `\`, `\\`, `%`, `%%`).Replace(arg) + `"`
}

// escape makes a value of type string.
func escape(value string) string { return strings.ReplaceAll(value, `\`, `\\`) }
