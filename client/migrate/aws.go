package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"
)

// awsList is the file of AWS's client up to version 5 that names its profiles; awsFolder has their texts.
const (
	awsList   = "ConnectionProfiles"
	awsFolder = "OpenVpnConfigs"
)

// awsProfiles is the list's form.
type awsProfiles struct {
	ConnectionProfiles []struct {
		ProfileName        string
		OvpnConfigFilePath string
		FederatedAuthType  json.RawMessage // 0 or 1: SAML
	}
}

// aws reads what AWS's client up to version 5 keeps for each person. Where version 6 keeps its profiles is not
// documented.
func (f *finder) aws(at string) {
	dir := ""
	switch {
	case at != "" && f.single:
		f.awsFile(f.s.name(at))
		return
	case at != "":
		dir = f.s.name(at)
	case f.s.OS == "windows":
		dir = f.s.in(f.s.AppData, "AWSVPNClient")
	default:
		dir = f.s.in(f.s.Home, ".config", "AWSVPNClient")
	}
	if dir == "" {
		return
	}
	f.looked = append(f.looked, f.s.native(dir))
	list := path.Join(dir, awsList)
	if _, err := fs.Stat(f.s.Files, list); err == nil || at == "" {
		f.awsFile(list)
		return
	}
	// A folder of profiles: that of another version, or OpenVpnConfigs itself, where files have no suffix.
	f.walk(dir, maxDepth, func(file string, folder bool) bool {
		if !folder && (hasSuffix(file, ".ovpn") || path.Base(dir) == awsFolder && !strings.HasPrefix(path.Base(file), ".")) {
			f.plain(bare(file, ".ovpn"), file)
		}
		return true
	})
}

// awsFile reads the list, or a profile alone.
func (f *finder) awsFile(file string) {
	text, err := f.read(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		f.add(Profile{Name: path.Base(file), Path: f.s.native(file), Err: err})
		return
	}
	list, err := parseAWSList(text)
	if err != nil {
		if path.Base(file) != awsList {
			f.plain(bare(file, ".ovpn"), file)
			return
		}
		f.add(Profile{Name: path.Base(file), Path: f.s.native(file), Err: err})
		return
	}
	for _, x := range list.ConnectionProfiles {
		if f.full() {
			return
		}
		own := f.s.name(x.OvpnConfigFilePath)
		text, err := f.read(own)
		if err != nil && !errors.Is(err, fs.ErrPermission) { // the folder was copied from another place
			base := path.Base(strings.ReplaceAll(x.OvpnConfigFilePath, `\`, "/"))
			if moved, e := f.read(path.Join(path.Dir(file), awsFolder, base)); e == nil {
				own, text, err = path.Join(path.Dir(file), awsFolder, base), moved, nil
			}
		}
		if err == nil && strings.Trim(string(x.FederatedAuthType), `"`) == "1" {
			text = withFederate(text)
		}
		name := x.ProfileName
		if name == "" {
			name = bare(own, ".ovpn")
		}
		shown := f.s.native(own)
		if err != nil {
			shown = x.OvpnConfigFilePath
		}
		f.add(Profile{Name: name, Path: shown, Text: text, Files: f.s.beside(path.Dir(own)), Err: err})
	}
}

func parseAWSList(text []byte) (awsProfiles, error) {
	var list awsProfiles
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	if err := json.Unmarshal(text, &list); err != nil {
		return list, errors.New("not the list of profiles that AWS's client writes")
	}
	return list, nil
}

// withFederate adds the line that AWS's client may keep in its list instead: its openvpn did not know it.
func withFederate(text []byte) []byte {
	for line := range bytes.Lines(text) {
		if string(bytes.TrimSpace(line)) == "auth-federate" {
			return text
		}
	}
	if !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return append(text, "auth-federate\n"...)
}
