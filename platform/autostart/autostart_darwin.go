package autostart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// The list is launchd's agents of the person (launchd.plist(5)).

func (e Entry) file() (string, error) {
	home, err := os.UserHomeDir()
	return filepath.Join(home, "Library", "LaunchAgents", e.ID+".plist"), err
}

// Enabled says whether the program starts with the session.
func (e Entry) Enabled() (bool, error) {
	file, err := e.file()
	if err != nil {
		return false, err
	}
	_, err = os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// text is the agent's file.
func (e Entry) text() ([]byte, error) {
	var b bytes.Buffer
	text := func(tag, value string) {
		b.WriteString("<" + tag + ">")
		_ = xml.EscapeText(&b, []byte(value)) // into memory
		b.WriteString("</" + tag + ">\n")
	}
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n<plist version=\"1.0\">\n<dict>\n")
	text("key", "Label")
	text("string", e.ID)
	text("key", "ProgramArguments")
	b.WriteString("<array>\n")
	text("string", e.Program)
	for _, a := range e.Args {
		text("string", a)
	}
	b.WriteString("</array>\n<key>RunAtLoad</key>\n<true/>\n<key>LimitLoadToSessionType</key>\n<string>Aqua</string>\n</dict>\n</plist>\n")
	return b.Bytes(), nil
}
