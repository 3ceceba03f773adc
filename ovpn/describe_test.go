package ovpn

import "testing"

func TestFormatNamesTheDigestOnlyWhereItIsUsed(t *testing.T) {
	for _, tc := range []struct{ cipher, want string }{
		{"AES-256-GCM", "AES-256-GCM stub-v2"},
		{"AES-256-CBC", "AES-256-CBC SHA256 stub-v2"},
		{"BF-CBC", "BF-CBC (insecure) SHA256 stub-v2"},
	} {
		d, _ := newPair(t, "AES-256-GCM", 0)
		f := dataFormat{cipher: mustCipher(t, tc.cipher), digest: "SHA256", compress: "stub-v2"}
		if err := d.install(1, f, testKeys()); err != nil {
			t.Fatal(err)
		}
		if got := d.Format(); got != tc.want {
			t.Errorf("%s: Format = %q, want %q", tc.cipher, got, tc.want)
		}
	}
}
