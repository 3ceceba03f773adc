package migrate

import (
	"bytes"
	"encoding/json"
	"path"
	"strings"
)

// openvpn reads the folders of OpenVPN Connect 3 (each profile a file called by a number, and their names in
// config.json), of OpenVPN GUI, and of openvpn's own unit on Linux.
func (f *finder) openvpn(at string) {
	if at != "" && f.single {
		f.plain(bare(at, ".ovpn", ".conf"), f.s.name(at))
		return
	}
	type place struct {
		dir      string
		suffixes []string
	}
	both := []string{".ovpn", ".conf"}
	places := []place{{f.s.name(at), both}}
	if at == "" {
		switch f.s.OS {
		case "windows":
			places = []place{
				{f.s.in(f.s.AppData, "OpenVPN Connect", "profiles"), both[:1]},
				{f.s.in(f.s.Home, "OpenVPN", "config"), both[:1]},
				{f.s.in(f.s.ProgramFiles, "OpenVPN", "config"), both[:1]},
				{f.s.in(f.s.ProgramFiles, "OpenVPN", "config-auto"), both[:1]},
			}
		case "darwin":
			places = []place{{f.s.in(f.s.Home, "Library", "Application Support", "OpenVPN Connect", "profiles"), both[:1]}}
		default:
			places = []place{{"etc/openvpn/client", both}}
		}
	}
	for _, p := range places {
		if p.dir == "" {
			continue
		}
		f.looked = append(f.looked, f.s.native(p.dir))
		names := f.connectNames(p.dir)
		f.walk(p.dir, 0, func(file string, folder bool) bool {
			if !folder && hasSuffix(file, p.suffixes...) {
				name := bare(file, p.suffixes...)
				if shown := names[name]; shown != "" && path.Dir(file) == p.dir {
					name = shown
				}
				f.plain(name, file)
			}
			return true
		})
	}
}

// connectNames are the names that OpenVPN Connect shows for its profiles, by their number; those of a folder that is
// not OpenVPN Connect's are empty.
func (f *finder) connectNames(dir string) map[string]string {
	if path.Base(dir) != "profiles" {
		return nil
	}
	text, err := f.read(path.Join(path.Dir(dir), "config.json"))
	if err != nil {
		return nil // they are called by their numbers then
	}
	return parseConnectNames(text)
}

// parseConnectNames reads config.json: redux-persist's, each level of which may be JSON in a string.
func parseConnectNames(text []byte) map[string]string {
	var top map[string]json.RawMessage
	if json.Unmarshal(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), &top) != nil {
		return nil
	}
	var root, status map[string]json.RawMessage
	var profiles map[string]struct {
		ProfileDisplayName, Name, ProfileName any
	}
	if unwrap(top["persist:root"], &root) != nil || unwrap(root["status"], &status) != nil || unwrap(status["profiles"], &profiles) != nil {
		return nil
	}
	names := map[string]string{}
	for id, p := range profiles {
		for _, shown := range []any{p.ProfileDisplayName, p.Name, p.ProfileName} {
			if s, ok := shown.(string); ok && strings.TrimSpace(s) != "" {
				names[id] = strings.TrimSpace(s)
				break
			}
		}
	}
	return names
}

// unwrap reads JSON, or JSON in a string.
func unwrap(raw json.RawMessage, to any) error {
	var inner string
	if json.Unmarshal(raw, &inner) == nil {
		raw = json.RawMessage(inner)
	}
	return json.Unmarshal(raw, to)
}
