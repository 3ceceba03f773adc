package pki

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// entry is one line of index.txt, the database of `openssl ca`:
// status, expiry, revocation (with reason), serial, file ("unknown"), subject; tab separated.
type entry struct {
	status  byte // 'V' valid, 'R' revoked, 'E' expired (set by openssl ca -updatedb)
	expires time.Time
	revoked time.Time // zero unless status is 'R'
	reason  string    // openssl's word with its argument, or ""
	serial  *big.Int
	file    string
	subject string // as openssl prints it: /CN=name
}

// maxIndexLine bounds a line; openssl's own subjects are far shorter.
const maxIndexLine = 16 << 10

// parseIndex reads an index.txt. appendIndex is its inverse.
func parseIndex(b []byte) ([]entry, error) {
	var entries []entry
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func parseEntry(line []byte) (entry, error) {
	var e entry
	if len(line) > maxIndexLine {
		return e, fmt.Errorf("longer than %d bytes", maxIndexLine)
	}
	f := splitEscaped(string(line))
	if len(f) != 6 {
		return e, fmt.Errorf("%d fields instead of 6", len(f))
	}
	if len(f[0]) != 1 || !strings.Contains("VRE", f[0]) {
		return e, fmt.Errorf("unknown status %q", f[0])
	}
	e.status = f[0][0]
	var err error
	if e.expires, err = parseTime(f[1]); err != nil {
		return e, err
	}
	if e.status == 'R' {
		date, reason, _ := strings.Cut(f[2], ",")
		if e.revoked, err = parseTime(date); err != nil {
			return e, err
		}
		e.reason = reason
	} else if f[2] != "" {
		return e, fmt.Errorf("status %s with a revocation date", f[0])
	}
	raw, err := hex.DecodeString(f[3])
	if err != nil || len(raw) == 0 || len(raw) > 64 {
		return e, fmt.Errorf("bad serial number %q", f[3])
	}
	e.serial = new(big.Int).SetBytes(raw)
	e.file, e.subject = f[4], f[5]
	return e, nil
}

// splitEscaped splits at tabs; openssl writes a tab inside a field as backslash tab.
func splitEscaped(s string) []string {
	var fields []string
	var cur strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '\t':
			cur.WriteByte('\t')
			i++
		case s[i] == '\t':
			fields = append(fields, cur.String())
			cur.Reset()
		default:
			cur.WriteByte(s[i])
		}
	}
	return append(fields, cur.String())
}

func formatIndex(entries []entry) []byte {
	var b []byte
	for _, e := range entries {
		b = appendIndex(b, e)
	}
	return b
}

// appendIndex appends e's line to b.
func appendIndex(b []byte, e entry) []byte {
	b = append(b, e.status, '\t')
	b = append(b, formatTime(e.expires)...)
	b = append(b, '\t')
	if e.status == 'R' {
		b = append(b, formatTime(e.revoked)...)
		if e.reason != "" {
			b = append(b, ',')
			b = append(b, strings.ReplaceAll(e.reason, "\t", "\\\t")...)
		}
	}
	b = append(b, '\t')
	b = append(b, formatSerial(e.serial)...)
	b = append(b, '\t')
	b = append(b, strings.ReplaceAll(e.file, "\t", "\\\t")...)
	b = append(b, '\t')
	b = append(b, strings.ReplaceAll(e.subject, "\t", "\\\t")...)
	return append(b, '\n')
}

// parseTime reads UTCTime (two-digit year, 1950 to 2049) or GeneralizedTime.
func parseTime(s string) (time.Time, error) {
	layout := "20060102150405Z"
	if len(s) == len("060102150405Z") {
		layout = "060102150405Z"
	}
	t, err := time.Parse(layout, s)
	if err != nil {
		return t, fmt.Errorf("bad date %q", s)
	}
	if layout == "060102150405Z" && t.Year() >= 2050 { // Go's pivot is 1969, RFC 5280's is 1950
		t = t.AddDate(-100, 0, 0)
	}
	return t, nil
}

func formatTime(t time.Time) string {
	t = t.UTC()
	if t.Year() >= 1950 && t.Year() < 2050 {
		return t.Format("060102150405Z")
	}
	return t.Format("20060102150405Z")
}

// formatSerial prints as openssl does: upper-case hex, whole bytes.
func formatSerial(n *big.Int) string {
	b := n.Bytes()
	if len(b) == 0 {
		return "00"
	}
	return strings.ToUpper(hex.EncodeToString(b))
}

var shortNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.41": "name", "2.5.4.42": "GN",
	"1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

// oneLine prints a subject as openssl's X509_NAME_oneline does.
func oneLine(raw []byte) string {
	var seq pkix.RDNSequence
	if rest, err := asn1.Unmarshal(raw, &seq); err != nil || len(rest) > 0 {
		return ""
	}
	var b strings.Builder
	for _, set := range seq {
		for _, a := range set {
			name := shortNames[a.Type.String()]
			if name == "" {
				name = a.Type.String()
			}
			b.WriteString("/" + name + "=")
			for _, c := range []byte(fmt.Sprint(a.Value)) {
				if c < ' ' || c > '~' {
					fmt.Fprintf(&b, "\\x%02X", c)
				} else {
					b.WriteByte(c)
				}
			}
		}
	}
	return b.String()
}
