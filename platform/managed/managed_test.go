package managed

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io/fs"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf16"
)

const preferences = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
	<key>AlwaysOn</key><true/>
	<key>AutoConnect</key><string>corp</string>
	<key>MaxConnections</key><integer>2</integer>
	<key>AllowedServers</key><array><string>vpn.example.com</string></array>
	<key>TrustedNetworks</key><array><dict><key>url</key><string>https://here.example.com</string></dict></array>
	<key>SignInHosts</key><array/>
	<key>PayloadUUID</key><string>F3F2D0D2</string>
</dict></plist>`

func TestPreferences(t *testing.T) {
	want := map[string]any{"AlwaysOn": true, "AutoConnect": "corp", "MaxConnections": int64(2), "AllowedServers": []string{"vpn.example.com"},
		"TrustedNetworks": []any{map[string]string{"url": "https://here.example.com"}}}
	folder := fstest.MapFS{"xml.plist": {Data: []byte(preferences)}}
	got, err := Preferences{folder, "xml.plist"}.Values()
	if list, ok := got["SignInHosts"].([]string); !ok || list == nil {
		t.Errorf("an empty list is %#v", got["SignInHosts"])
	}
	delete(got, "SignInHosts")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%#v, %v", got, err)
	}
	binary, err := binaryForm()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := parsePreferences(binary); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("binary: %#v, %v", got, err)
	}
	if _, err := (Preferences{folder, "none.plist"}).Values(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	for _, bad := range []string{"", "x", "bplist00", "<plist><array/></plist>", "{ a = b; }", `<plist version="1.0"><dict><key>A</key><date>2026-01-01T00:00:00Z</date></dict></plist>`, `<plist version="1.0"><dict><key>A</key><dict><key>B</key><dict/></dict></dict></plist>`, `<plist version="1.0"><string>x</string></plist>`, strings.Repeat(" ", maxPreferences+1)} {
		if got, err := parsePreferences([]byte(bad)); err == nil {
			t.Errorf("%.20q is %v", bad, got)
		}
	}
}

// binaryPreferences is the same as Python's plistlib writes it (FMT_BINARY).
const binaryPreferences = "YnBsaXN0MDDVAQIDBAUGCAkKC15BbGxvd2VkU2VydmVyc1hBbHdheXNPbltBdXRvQ29ubmVjdF5NYXhDb25uZWN0aW9uc18QD1RydXN0ZWROZXR3b3Jrc6EHXxAPdnBuLmV4YW1wbGUuY29tCVRjb3JwEAKhDNENDlN1cmxfEBhodHRwczovL2hlcmUuZXhhbXBsZS5jb20IEyIrN0ZYWmxtcnR2eX0AAAAAAAABAQAAAAAAAAAPAAAAAAAAAAAAAAAAAAAAmA=="

func binaryForm() ([]byte, error) { return base64.StdEncoding.DecodeString(binaryPreferences) }

func FuzzPreferences(f *testing.F) {
	f.Add([]byte(preferences))
	if b, err := binaryForm(); err == nil {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if v, err := parsePreferences(text); (v == nil) == (err == nil) {
			t.Errorf("%v, %v", v, err)
		}
	})
}

// wide is a text in the registry's form, without its end.
func wide(s string) []byte {
	var out []byte
	for _, c := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, c)
	}
	return out
}

func TestRegistry(t *testing.T) {
	got, err := RegistryValues(map[string]RegistryValue{
		"AlwaysOn": {RegNumber, []byte{1, 0, 0, 0}}, "Large": {regLarge, []byte{1, 0, 0, 0, 0, 0, 0, 0x80}},
		"AutoConnect": {RegText, wide("corp ü\x00")}, "Open": {RegText, wide("x")}, "Empty": {RegText, nil},
		"SignInHosts": {RegTexts, wide("a\x00b\x00\x00")}, "None": {RegTexts, wide("\x00")}, "Nothing": {RegTexts, nil},
	}, map[string]map[string]RegistryValue{
		"AllowedServers": {"10": {RegText, wide("ten\x00")}, "2": {RegText, wide("two\x00")}, "1": {RegText, wide("one\x00")}}, "AllowedCAs": {},
	})
	want := map[string]any{"AlwaysOn": int64(1), "Large": uint64(1<<63 + 1), "AutoConnect": "corp ü", "Open": "x", "Empty": "",
		"SignInHosts": []string{"a", "b"}, "None": []string{}, "Nothing": []string{}, "AllowedServers": []string{"one", "two", "ten"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%#v, %v", got, err)
	}
	for _, lists := range []map[string]map[string]RegistryValue{nil, {"AllowedServers": {}}} {
		if got, err := RegistryValues(nil, lists); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v: %v, %v", lists, got, err)
		}
	}
	for _, c := range []struct {
		own   map[string]RegistryValue
		lists map[string]map[string]RegistryValue
		want  string
	}{
		{map[string]RegistryValue{"A": {3, []byte("x")}}, nil, "A: a value of type 3 and 1 bytes"},
		{map[string]RegistryValue{"A": {RegNumber, []byte{1}}}, nil, "A: a value of type 4 and 1 bytes"},
		{map[string]RegistryValue{"A": {RegText, []byte{1}}}, nil, "A: a value of type 1"},
		{map[string]RegistryValue{"A": {2, wide("%TEMP%")}}, nil, "A: a value of type 2"},
		{map[string]RegistryValue{"A": {RegText, wide("a\x00b\x00")}}, nil, "A: there is more behind its end"},
		{map[string]RegistryValue{"A": {RegText, nil}}, map[string]map[string]RegistryValue{"A": {"1": {RegText, nil}}}, "A: it is there twice"},
		{nil, map[string]map[string]RegistryValue{"A": {"1": {RegNumber, make([]byte, 4)}}}, `A\1: it is not a text`},
		{nil, map[string]map[string]RegistryValue{"A": {"1": {3, nil}}}, `A\1: a value of type 3`},
	} {
		if got, err := RegistryValues(c.own, c.lists); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: %v, %v; want %s", c.own, c.lists, got, err, c.want)
		}
	}
}

func FuzzRegistryValue(f *testing.F) {
	f.Add(uint32(RegTexts), wide("a\x00b\x00\x00"))
	f.Add(uint32(RegText), wide("corp\x00"))
	f.Add(uint32(RegNumber), []byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, kind uint32, data []byte) {
		switch v, err := (RegistryValue{kind, data}).value(); v := v.(type) {
		case nil:
			if err == nil {
				t.Error("neither a value nor an error")
			}
		case string:
			if len(v) > 3*len(data) {
				t.Errorf("%d bytes of %d", len(v), len(data))
			}
		}
	})
}
