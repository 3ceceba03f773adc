package migrate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text), Mode: 0o600} }

// machines with a person ann.
func linux(files fstest.MapFS) System { return System{OS: "linux", Files: files, Home: "/home/ann"} }
func mac(files fstest.MapFS) System   { return System{OS: "darwin", Files: files, Home: "/Users/ann"} }
func windows(files fstest.MapFS) System {
	return System{OS: "windows", Files: files, Home: `C:\Users\ann`, AppData: `C:\Users\ann\AppData\Roaming`, ProgramFiles: `C:\Program Files`}
}

// shown is a search's result in lines "name <- path", with the text's first line or the error.
func shown(t *testing.T, s System, c Client, at string) []string {
	t.Helper()
	found, err := s.Find(c, at)
	if err != nil {
		return []string{err.Error()}
	}
	var lines []string
	for _, p := range found {
		first, _, _ := strings.Cut(string(p.Text), "\n")
		line := fmt.Sprintf("%s <- %s: %s", p.Name, p.Path, first)
		if p.Err != nil {
			line = fmt.Sprintf("%s <- %s! %v", p.Name, p.Path, p.Err)
		}
		lines = append(lines, line)
		for _, n := range p.Notes {
			lines = append(lines, "  "+n)
		}
	}
	return lines
}

func expect(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// awsJSON is what AWS's client 3 to 5 writes.
const awsJSON = `{"Version":"1","LastSelectedProfileIndex":-1,"ConnectionProfiles":[
{"ProfileName":"Production","OvpnConfigFilePath":"%[1]sProduction","CvpnEndpointId":"cvpn-endpoint-1","CvpnEndpointRegion":"eu-west-1","CompatibilityVersion":"2","FederatedAuthType":1},
{"ProfileName":"Old/office [2]","OvpnConfigFilePath":"%[1]sold","CvpnEndpointId":"x","CvpnEndpointRegion":"y","CompatibilityVersion":"1","FederatedAuthType":0},
{"ProfileName":"Gone","OvpnConfigFilePath":"%[1]sgone","FederatedAuthType":0}]}`

func TestAWS(t *testing.T) {
	const here = "home/ann/.config/AWSVPNClient/"
	files := fstest.MapFS{
		here + "ConnectionProfiles":        file("\xef\xbb\xbf" + fmt.Sprintf(awsJSON, "/home/ann/.config/AWSVPNClient/OpenVpnConfigs/")),
		here + "OpenVpnConfigs/Production": file("remote a.example\n<ca>\nx\n</ca>"),
		here + "OpenVpnConfigs/old":        file("remote b.example\nca ca.crt\n"),
		here + "OpenVpnConfigs/ca.crt":     file("CA"),
		"copy/OpenVpnConfigs/old":          file("remote moved.example\n"),
		"copy/ConnectionProfiles":          file(fmt.Sprintf(awsJSON, `C:\\Users\\ann\\AppData\\Roaming\\AWSVPNClient\\OpenVpnConfigs\\`)),
		"six/work.ovpn":                    file("remote six.example\n"),
		"six/notes.txt":                    file("hello"),
		"broken/ConnectionProfiles":        file("not JSON"),
		"empty/ConnectionProfiles":         file(`{"ConnectionProfiles":[]}`),
	}
	s := linux(files)
	expect(t, shown(t, s, AWS, ""),
		"Production <- /home/ann/.config/AWSVPNClient/OpenVpnConfigs/Production: remote a.example",
		"Old-office (2) <- /home/ann/.config/AWSVPNClient/OpenVpnConfigs/old: remote b.example",
		"Gone <- /home/ann/.config/AWSVPNClient/OpenVpnConfigs/gone! file does not exist")
	found, err := s.Find(AWS, "")
	if err != nil {
		t.Fatal(err)
	}
	// The list says SAML; the file of the client's own openvpn does not.
	if got := string(found[0].Text); got != "remote a.example\n<ca>\nx\n</ca>\nauth-federate\n" {
		t.Errorf("a federated profile is %q", got)
	}
	if strings.Contains(string(found[1].Text), "auth-federate") {
		t.Error("a profile that is not federated became so")
	}
	if b, err := found[1].Files("ca.crt"); err != nil || string(b) != "CA" {
		t.Errorf("the file beside it: %q, %v", b, err)
	}
	if got := string(withFederate([]byte("a\n auth-federate\r\n"))); got != "a\n auth-federate\r\n" {
		t.Errorf("a line that was there: %q", got)
	}
	// A folder that was carried from another machine.
	expect(t, shown(t, s, AWS, "/copy"),
		`Production <- C:\Users\ann\AppData\Roaming\AWSVPNClient\OpenVpnConfigs\Production! file does not exist`,
		"Old-office (2) <- /copy/OpenVpnConfigs/old: remote moved.example",
		`Gone <- C:\Users\ann\AppData\Roaming\AWSVPNClient\OpenVpnConfigs\gone! file does not exist`)
	// A file, or a folder of files, that was got out of another version.
	expect(t, shown(t, s, AWS, "/six"), "work <- /six/work.ovpn: remote six.example")
	expect(t, shown(t, s, AWS, "/six/work.ovpn"), "work <- /six/work.ovpn: remote six.example")
	expect(t, shown(t, s, AWS, "/copy/OpenVpnConfigs"), "old <- /copy/OpenVpnConfigs/old: remote moved.example")
	expect(t, shown(t, s, AWS, "/broken"), "ConnectionProfiles <- /broken/ConnectionProfiles! not the list of profiles that AWS's client writes")
	expect(t, shown(t, s, AWS, "/empty"), "no profiles of the AWS VPN client in /empty")
	expect(t, shown(t, s, AWS, "/nothing"), "/nothing: file does not exist")

	expect(t, shown(t, mac(files), AWS, ""), "no profiles of the AWS VPN client in /Users/ann/.config/AWSVPNClient")
	const roaming = "C:/Users/ann/AppData/Roaming/AWSVPNClient/"
	expect(t, shown(t, windows(fstest.MapFS{
		roaming + "ConnectionProfiles":        file(fmt.Sprintf(awsJSON, `C:\\Users\\ann\\AppData\\Roaming\\AWSVPNClient\\OpenVpnConfigs\\`)),
		roaming + "OpenVpnConfigs/Production": file("remote w.example\n"),
	}), AWS, "")[:1], `Production <- C:\Users\ann\AppData\Roaming\AWSVPNClient\OpenVpnConfigs\Production: remote w.example`)
}

// TestAWSLimits: a list may name one large file many times.
func TestAWSLimits(t *testing.T) {
	large := file("remote a.example\n" + strings.Repeat("#", maxFile-100))
	entries := strings.TrimSuffix(strings.Repeat(`{"ProfileName":"p","OvpnConfigFilePath":"/large","FederatedAuthType":1},`, 3000), ",")
	found, err := linux(fstest.MapFS{"x/ConnectionProfiles": file(`{"ConnectionProfiles":[` + entries + `]}`), "large": large}).Find(AWS, "/x")
	if err != nil || len(found) != maxProfiles+1 || found[maxProfiles].Err == nil {
		t.Fatalf("%d profiles, %v", len(found), err)
	}
	sum := 0
	for _, p := range found {
		sum += len(p.Text)
	}
	if last := found[maxProfiles-1]; sum > maxBytes+maxFile || last.Err == nil || !strings.Contains(last.Err.Error(), "more than 64 MiB") {
		t.Errorf("%d bytes; the last is %v", sum, last.Err)
	}
}

func TestOpenVPN(t *testing.T) {
	connect := `{"persist:root":"{\"status\":\"{\\\"profiles\\\":{\\\"1709661473394\\\":{\\\"profileDisplayName\\\":\\\"ann@vpn.example [office]\\\",\\\"name\\\":\\\"x\\\"}}}\"}","other":1}`
	expect(t, shown(t, windows(fstest.MapFS{
		"C:/Users/ann/AppData/Roaming/OpenVPN Connect/config.json":                 file(connect),
		"C:/Users/ann/AppData/Roaming/OpenVPN Connect/profiles/1709661473394.ovpn": file("remote one\n"),
		"C:/Users/ann/AppData/Roaming/OpenVPN Connect/profiles/1709661473395.ovpn": file("remote two\n"),
		"C:/Users/ann/OpenVPN/config/home.ovpn":                                    file("remote three\n"),
		"C:/Users/ann/OpenVPN/config/berlin/client.OVPN":                           file("remote four\n"),
		"C:/Users/ann/OpenVPN/config/berlin/client.key":                            file("key\n"),
		"C:/Users/ann/OpenVPN/config/tokyo/client.ovpn":                            file("remote five\n"),
		"C:/Program Files/OpenVPN/config/README.txt":                               file("put files here\n"),
		"C:/Program Files/OpenVPN/config-auto/always.ovpn":                         file("remote six\n"),
	}), OpenVPN, ""),
		`ann@vpn.example (office) <- C:\Users\ann\AppData\Roaming\OpenVPN Connect\profiles\1709661473394.ovpn: remote one`,
		`1709661473395 <- C:\Users\ann\AppData\Roaming\OpenVPN Connect\profiles\1709661473395.ovpn: remote two`,
		`client <- C:\Users\ann\OpenVPN\config\berlin\client.OVPN: remote four`,
		`home <- C:\Users\ann\OpenVPN\config\home.ovpn: remote three`,
		`client (tokyo) <- C:\Users\ann\OpenVPN\config\tokyo\client.ovpn: remote five`,
		`always <- C:\Program Files\OpenVPN\config-auto\always.ovpn: remote six`)

	const support = "Users/ann/Library/Application Support/OpenVPN Connect/"
	expect(t, shown(t, mac(fstest.MapFS{
		support + "config.json":     file(`{"persist:root":{"status":{"profiles":{"1":{"name":"plain"},"2":{"name":7}}}}}`),
		support + "profiles/1.ovpn": file("remote one\n"),
		support + "profiles/2.ovpn": file("remote two\n"),
	}), OpenVPN, ""),
		"plain <- /Users/ann/Library/Application Support/OpenVPN Connect/profiles/1.ovpn: remote one",
		"2 <- /Users/ann/Library/Application Support/OpenVPN Connect/profiles/2.ovpn: remote two")

	s := linux(fstest.MapFS{
		"etc/openvpn/client/work.conf": file("remote one\n"), "etc/openvpn/server/server.conf": file("server\n"), "home/ann/vpn/x.ovpn": file("remote x\n"),
		"home/ann/vpn/link": {Mode: fs.ModeNamedPipe | 0o600}, "home/ann/vpn/pipe.ovpn": {Mode: fs.ModeNamedPipe | 0o600},
	})
	expect(t, shown(t, s, OpenVPN, ""), "work <- /etc/openvpn/client/work.conf: remote one")
	expect(t, shown(t, s, OpenVPN, "/home/ann/vpn"), "pipe <- /home/ann/vpn/pipe.ovpn! not a plain file", "x <- /home/ann/vpn/x.ovpn: remote x")
	expect(t, shown(t, s, OpenVPN, "/home/ann/vpn/x.ovpn"), "x <- /home/ann/vpn/x.ovpn: remote x")
}

func TestTunnelblick(t *testing.T) {
	const private, shared = "Users/ann/Library/Application Support/Tunnelblick/Configurations/", "Library/Application Support/Tunnelblick/Shared/"
	s := mac(fstest.MapFS{
		private + "Office.tblk/Contents/Info.plist":            file("<plist/>"),
		private + "Office.tblk/Contents/Resources/config.ovpn": file("remote office\nca ca.crt\n"),
		private + "Office.tblk/Contents/Resources/ca.crt":      file("CA"),
		private + "Office.tblk/Contents/Resources/up.sh":       file("#!/bin/sh"),
		private + "Team/Lab.tblk/lab.conf":                     file("remote lab\n"),
		private + "Team/Pair.tblk/a.ovpn":                      file("remote a\n"),
		private + "Team/Pair.tblk/b.ovpn":                      file("remote b\n"),
		private + "loose.ovpn":                                 file("remote loose\n"), // Tunnelblick does not look at it either
		shared + "All.tblk/Inner.tblk/config.ovpn":             file("remote inner\n"),
		"x.ovpn": file("remote x\n"),
	})
	dir := "/Users/ann/Library/Application Support/Tunnelblick/Configurations/"
	expect(t, shown(t, s, Tunnelblick, ""),
		"Office <- "+dir+"Office.tblk/Contents/Resources/config.ovpn: remote office",
		"  its scripts do not run here: up.sh",
		"Lab <- "+dir+"Team/Lab.tblk/lab.conf: remote lab",
		"Pair a <- "+dir+"Team/Pair.tblk/a.ovpn: remote a",
		"Pair b <- "+dir+"Team/Pair.tblk/b.ovpn: remote b",
		"Inner <- /Library/Application Support/Tunnelblick/Shared/All.tblk/Inner.tblk/config.ovpn: remote inner")
	expect(t, shown(t, s, Tunnelblick, dir+"Office.tblk")[:1], "Office <- "+dir+"Office.tblk/Contents/Resources/config.ovpn: remote office")
	expect(t, shown(t, s, Tunnelblick, "/x.ovpn"), "x <- /x.ovpn: remote x")
	found, err := s.Find(Tunnelblick, "")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := found[0].Files("ca.crt"); err != nil || string(b) != "CA" {
		t.Errorf("the file in the bundle: %q, %v", b, err)
	}
	expect(t, shown(t, linux(fstest.MapFS{}), Tunnelblick, ""), "this system has no usual place for profiles of Tunnelblick")
}

// TestBounds: a folder that is something else ends the search, and says so.
func TestBounds(t *testing.T) {
	many := fstest.MapFS{}
	for i := range maxProfiles + 10 {
		many[fmt.Sprintf("d/%04d.ovpn", i)] = file("remote a\n")
	}
	found, err := linux(many).Find(OpenVPN, "/d")
	if err != nil || len(found) != maxProfiles+1 || found[maxProfiles].Err == nil {
		t.Errorf("%d profiles, %v", len(found), err)
	}
	many = fstest.MapFS{"d/z.ovpn": file("remote a\n")}
	for i := range maxEntries {
		many[fmt.Sprintf("d/%05d.txt", i)] = file("")
	}
	got := shown(t, linux(many), OpenVPN, "/d")
	if len(got) != 1 || !strings.Contains(got[0], "more than 5000 files") {
		t.Errorf("%q", got)
	}
	deep := fstest.MapFS{"d/" + strings.Repeat("x/", maxDepth+2) + "a.ovpn": file("remote a\n"), "d/b.ovpn": file("remote b\n"), "d/big.ovpn": file(strings.Repeat("#", maxFile+1))}
	expect(t, shown(t, linux(deep), OpenVPN, "/d"), "b <- /d/b.ovpn: remote b", "big <- /d/big.ovpn! larger than 4 MiB")
}

func TestTidy(t *testing.T) {
	for in, want := range map[string]string{
		"work": "work", " [a] ": "a)", "../../etc": "etc", "": "profile", "...": "profile", "東京/本社": "東京-本社", "a\x00b\xff": "a-b-",
		strings.Repeat("é", 40): strings.Repeat("é", 32), "a. ": "a",
	} {
		if got := tidy(in); got != want {
			t.Errorf("tidy(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestPaths(t *testing.T) {
	w, l := windows(nil), linux(nil)
	for _, x := range []struct {
		s            System
		native, name string
	}{
		{l, "/home/ann", "home/ann"}, {l, "/", "."}, {w, `C:\Users\ann`, "C:/Users/ann"}, {w, `C:\`, "C:"}, {w, `\\server\share\ann`, "UNC/server/share/ann"},
	} {
		if got := x.s.name(x.native); got != x.name {
			t.Errorf("name(%q) = %q, want %q", x.native, got, x.name)
		}
		if got := x.s.native(x.name); got != x.native {
			t.Errorf("native(%q) = %q, want %q", x.name, got, x.native)
		}
	}
	if got := w.name(`\\?\C:\a`); got != "C:/a" {
		t.Errorf(`\\?\C:\a is %q`, got)
	}
}

// TestHere: the real file system, links and pipes included.
func TestHere(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"a.ovpn": "remote a\nca keys\\ca.crt\n", "keys/ca.crt": "CA"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Here().Find(OpenVPN, dir)
	if err != nil || len(found) != 1 || found[0].Err != nil || found[0].Path != filepath.Join(dir, "a.ovpn") {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, name := range []string{"keys/ca.crt", `keys\ca.crt`, filepath.Join(dir, "keys", "ca.crt")} {
		if b, err := found[0].Files(name); err != nil || string(b) != "CA" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	var missing *Missing
	if _, err := Here().Find(OpenVPN, filepath.Join(dir, "keys")); !errors.As(err, &missing) {
		t.Errorf("a folder without profiles: %v", err)
	}
}

func FuzzLists(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(awsJSON, "/x/")))
	f.Add([]byte(`{"persist:root":"{\"status\":\"{\\\"profiles\\\":{\\\"1\\\":{\\\"name\\\":\\\"a\\\"}}}\"}"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := linux(fstest.MapFS{"d/ConnectionProfiles": {Data: text}, "c/config.json": {Data: text}, "c/profiles/1.ovpn": file("remote a\n")})
		for _, at := range []struct {
			c  Client
			in string
		}{{AWS, "/d"}, {OpenVPN, "/c/profiles"}} {
			found, _ := s.Find(at.c, at.in)
			seen := map[string]bool{}
			for _, p := range found {
				if p.Name != tidy(p.Name) || seen[p.Name] {
					t.Fatalf("the name %q", p.Name)
				}
				seen[p.Name] = true
			}
		}
	})
}
