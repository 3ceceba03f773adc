package profile

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// TestOldCodePages: bytes that are no UTF-8 do not matter in comments and in what people only read. Elsewhere the line says what is
// wrong: another name or password in their place would fail later, for no reason that anybody sees.
func TestOldCodePages(t *testing.T) {
	for text, refused := range map[string]bool{
		"# caf\xe9\nremote h\n":                                                        false,
		"remote h # caf\xe9\n":                                                         false,
		"remote h\nstatic-challenge \"Code f\xfcr VPN\" 1\n":                           false,
		"remote h\nsetenv FRIENDLY_NAME B\xfcro\n":                                     false,
		"remote h\nup C:/M\xfcller.bat\n":                                              false,
		"remote h\nca \"M\xfcller.crt\"\n":                                             true,
		"remote h\nverify-x509-name M\xfcller name\n":                                  true,
		"remote h\n<auth-user-pass>\nann\ncaf\xe9\n</auth-user-pass>\n":                true,
		"remote h\n<auth-user-pass>\nann\ncaf\xc3\xa9\n</auth-user-pass>\n# caf\xe9\n": false,
	} {
		p, err := Parse("x", []byte(text), func(string) ([]byte, error) { return nil, fs.ErrNotExist })
		var r *Remark
		if errors.As(err, &r) != refused || refused && r.Code != "not_utf8" {
			t.Errorf("%q: %v, refused %t wanted", text, err, refused)
		}
		if err == nil && strings.Contains(p.Password.Reveal(), replaced) {
			t.Errorf("%q: the password is another one", text)
		}
	}
}

// TestBlockEnds: a block ends where openvpn's does: at the first line that begins with the closing tag, after any white space.
func TestBlockEnds(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	p := mustParse(t, "remote h\n<ca>\n"+ca.pem+"  </ca>  # ours\n<cert>\n"+me.pem+"\t</cert>\n<key>\n"+me.kpem+"</key>\n<ca>\n"+ca.pem+"</ca>\n", nil)
	if _, err := p.TLSConfig(testNow); err != nil || string(p.Cert) != me.pem || string(p.CA) != ca.pem {
		t.Errorf("%v, CA %s, certificate %s", err, p.CA, p.Cert)
	}
	if again := mustParse(t, p.Text(), nil); string(again.Cert) != me.pem {
		t.Errorf("stored as %s", p.Text())
	}
}

// TestFolder: the names of files count from cd, wherever it stands, as for openvpn.
func TestFolder(t *testing.T) {
	ca := newAuthority(t, "ca")
	absolute, err := filepath.Abs("vpn")
	if err != nil {
		t.Fatal(err)
	}
	for dirs, want := range map[string]string{"cd keys": "keys/ca.crt", "cd keys|cd deep": "keys/deep/ca.crt", "cd keys|cd '" + absolute + "'": absolute + "/ca.crt", "": "ca.crt"} {
		for _, text := range []string{"remote h\nca ca.crt\n" + dirs, dirs + "\nremote h\nca ca.crt\n"} {
			var asked []string
			p := mustParse(t, strings.ReplaceAll(text, "|", "\n"), func(path string) ([]byte, error) {
				asked = append(asked, path)
				return []byte(ca.pem), nil
			})
			if len(asked) != 1 || filepath.ToSlash(asked[0]) != filepath.ToSlash(want) {
				t.Errorf("%q reads %q, want %s", text, asked, want)
			}
			if mustParse(t, p.Text(), nil); p.Unsupported() != nil {
				t.Error(p.Unsupported())
			}
		}
	}

	// Where the folder has no such file, the one beside the profile it was brought with.
	p := mustParse(t, "remote h\ncd /etc/vpn\nca ca.crt\n", func(path string) ([]byte, error) {
		if path != "ca.crt" {
			return nil, fs.ErrNotExist
		}
		return []byte(ca.pem), nil
	})
	if string(p.CA) != ca.pem {
		t.Error("the file beside the profile is not read")
	}
}
