package main

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/gui/icon"
	"github.com/adit-vpn/adit/installer/version"
)

// appID is the app's name among all, and that of its package.
const appID = "com.adit.gui"

// makeApp puts programs (of one processor each, or of both) and what belongs to them into a directory that is an app. What was there
// is replaced.
func makeApp(out string, v version.Version, programs []string) error {
	var parts [][]byte
	for _, file := range programs {
		b, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("%w; make gui makes it on a Mac", err)
		}
		parts = append(parts, b)
	}
	joined, err := join(strings.Join(programs, ", "), parts)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		mode os.FileMode
		data []byte
	}{
		{"Contents/Info.plist", 0o644, infoPlist(v, joined)},
		{"Contents/PkgInfo", 0o644, []byte("APPL????")},
		{"Contents/MacOS/adit-gui", 0o755, joined.data},
		{"Contents/Resources/adit.icns", 0o644, icon.ICNS()},
	} {
		at := filepath.Join(out, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}

// infoPlist is what macOS reads of the app (developer.apple.com, "Information Property List"). No type of documents is in it:
// macOS hands a file to a running app in an event that the toolkit does not pass on. Nor is the app without a place in the Dock
// (LSUIElement): its window must be found among the others.
func infoPlist(v version.Version, p program) []byte {
	var b strings.Builder
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
`)
	for _, pair := range [][2]string{
		{"CFBundleDevelopmentRegion", "en"},
		{"CFBundleExecutable", "adit-gui"},
		{"CFBundleIconFile", "adit.icns"},
		{"CFBundleIdentifier", appID},
		{"CFBundleInfoDictionaryVersion", "6.0"},
		{"CFBundleName", "Adit"},
		{"CFBundlePackageType", "APPL"},
		{"CFBundleShortVersionString", v.Pkg()},
		{"CFBundleVersion", v.Pkg()},
		{"LSApplicationCategoryType", "public.app-category.utilities"},
		{"LSMinimumSystemVersion", p.needs.String()},
	} {
		fmt.Fprintf(&b, "\t<key>%s</key>\n\t<string>%s</string>\n", pair[0], pair[1])
	}
	b.WriteString(`	<key>CFBundleLocalizations</key>
	<array>
		<string>en</string>
		<string>ja</string>
	</array>
	<key>NSHighResolutionCapable</key>
	<true/>
</dict>
</plist>
`)
	return []byte(b.String())
}
