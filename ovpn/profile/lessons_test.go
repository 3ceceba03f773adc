package profile

import (
	"crypto/x509"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode"
)

// Tests of what went wrong elsewhere; docs/security-lessons.md has the list.

// A helper with more rights than the user was made to run programs by options that its filter did
// not see: behind "setenv opt", with dashes, in quotes, in a <connection>. Here nothing that names a
// program or another file means anything, however it is written, and no field of a Profile keeps it.
func TestCVE_2026_63649_2024_27903_NoProgramHowever(t *testing.T) {
	for _, option := range []string{
		"plugin /evil.so", "up /evil", "down /evil", "route-up /evil", "route-pre-down /evil", "ipchange /evil", "tls-verify /evil", "dns-updown /evil",
		"auth-user-pass-verify /evil via-env", "client-connect /evil", "client-disconnect /evil", "learn-address /evil", "tls-crypt-v2-verify /evil", "iproute /evil",
		"engine /evil", "providers /evil", "pkcs11-providers /evil", "script-security 3", "management /evil unix", "log /evil", "writepid /evil", "status /evil", "cd /evil", "chroot /evil", "tmp-dir /evil",
	} {
		word, rest, _ := strings.Cut(option, " ")
		for _, text := range []string{option, "--" + option, "setenv opt " + option, "setenv opt --" + option, `"` + word + `" ` + rest, "'" + word + "'\t" + rest, "\t" + option + " # x",
			"ignore-unknown-option " + word + "\n" + option, "<connection>\nremote h\n" + option + "\n</connection>"} {
			plain := mustParse(t, "remote h\n", nil)
			p, err := Parse("test", []byte("remote h\n"+text+"\n"), nil)
			if err != nil {
				continue // refused is safe too
			}
			for _, d := range p.Directives {
				if d.Words[0] == word && d.Verdict == Used {
					t.Errorf("%q is used", text)
				}
			}
			v := reflect.ValueOf(*p)
			for i := range v.NumField() {
				if name := v.Type().Field(i).Name; name != "Directives" && v.Type().Field(i).IsExported() {
					if s := strings.Join(stringsIn(v.Field(i)), " "); strings.Contains(s, "evil") && !strings.Contains(strings.Join(stringsIn(reflect.ValueOf(*plain).Field(i)), " "), "evil") {
						t.Errorf("%q: %s keeps %q", text, name, s)
					}
				}
			}
		}
	}
}

// stringsIn collects every string of a value.
func stringsIn(v reflect.Value) (all []string) {
	switch v.Kind() {
	case reflect.String:
		all = append(all, v.String())
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			all = append(all, stringsIn(v.Index(i))...)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			all = append(all, stringsIn(v.Field(i))...)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			all = append(append(all, stringsIn(k)...), stringsIn(v.MapIndex(k))...)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			all = stringsIn(v.Elem())
		}
	}
	return all
}

// Names in certificates that end early (NUL), or are not what they say, ended openvpn or passed for
// others. The right name in front of a NUL is not the right name.
func TestCVE_2017_7521_2017_7522_NamesInCertificates(t *testing.T) {
	ca := newAuthority(t, "ca")
	me := issue(t, &ca, "me", client)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, tc := range []struct {
		name, cn string
		field    string
		change   func(c *x509.Certificate)
	}{
		{"NUL at the end", "vpn.example\x00", "CN", server},
		{"NUL in the middle", "vpn.example\x00.evil.example", "CN", server},
		{"nothing", "", "CN", server},
		{"only a NUL", "\x00", "CN", server},
		{"control characters", "vpn.example\n", "CN", server},
		{"NUL in the alternative name", "vpn.example", "ext:subjectAltName", func(c *x509.Certificate) {
			server(c)
			c.EmailAddresses = []string{"vpn.example\x00.evil.example"}
		}},
		{"an empty alternative name", "vpn.example", "ext:subjectAltName", func(c *x509.Certificate) {
			server(c)
			c.EmailAddresses = []string{""}
		}},
		{"NUL in a unit", "vpn.example", "OU", func(c *x509.Certificate) {
			server(c)
			c.Subject.OrganizationalUnit = []string{"vpn.example\x00"}
		}},
	} {
		p := mustParse(t, "remote h\nx509-username-field "+tc.field+"\nverify-x509-name vpn.example name\n<ca>\n"+ca.pem+"</ca>\n<cert>\n"+me.pem+"</cert>\n<key>\n"+me.kpem+"</key>\n", nil)
		cfg, err := p.TLSConfig(testNow)
		if err != nil {
			t.Fatal(err)
		}
		var e *VerifyError
		err = handshake(t, cfg, issue(t, &ca, tc.cn, tc.change), pool)
		if !errors.As(err, &e) || strings.ContainsFunc(err.Error(), unicode.IsControl) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
