package diagnose

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const redacted = "[redacted]"

// shapes are what secrets look like wherever they turn up; the group is what goes. What stands in front may be anything.
// Where a secret ends is a guess, so the guess is long.
var shapes = compiled(
	// PEM (RFC 7468) and OpenVPN's static keys; one without an end is a secret to the end of the text.
	`(?s)(-----BEGIN [^-\n]*(?:PRIVATE KEY|OpenVPN|PKCS)[^\n]*?-----.*?(?:-----END [^-\n]*-----(?:[^-B]|\z)|\z))`,
	// OpenVPN's auth-token (auth-gen-token), and answers and states of challenges (management-notes.txt).
	`(SESS_ID_[^\s"'<>,;&]*)`,
	`(S?CRV1:[^\s"'<>]*)`,
	`(?i:auth-token)["']?[ \t=:]+([^\r\n]+)`,
	// Headers of HTTP (RFC 9110).
	`(?i:authorization|cookie)["']?[ \t]*:([^\r\n]+)`,
	// User information, query and fragment of a URL (RFC 3986): a sign-in's request and answer, among others.
	`[A-Za-z][A-Za-z0-9+.-]*://([^\s"'<>]*)@`,
	`[A-Za-z][A-Za-z0-9+.-]*://[^\s"'<>?#]*[?#]([^\s"'<>]*)`,
	// What has such a name and a value.
	`(?i:saml(?:request|response|art)|relaystate|passw(?:or)?d|passphrase|secret|token|api[-_]?key|otp|session[-_]?id)["']?[ \t]*=([^\r\n]+)`,
)

// long is a run that is a key rather than a word: base64 or hexadecimal.
var long = compiled(`([A-Za-z0-9+/=_-]{80,})`)

// compiled makes patterns when they are first asked for: adit has them, and most of its commands need none.
func compiled(patterns ...string) func() []*regexp.Regexp {
	return sync.OnceValue(func() []*regexp.Regexp {
		var res []*regexp.Regexp
		for _, p := range patterns {
			res = append(res, regexp.MustCompile(p))
		}
		return res
	})
}

// Redact takes out of a text whatever has the shape of a secret: private and static keys, auth-tokens, challenges, cookies,
// passwords in URLs, the queries of URLs, and what is called password or token and has a value. It is the second line of
// defence: what goes into a bundle has no secrets by its type, or went through profile.Redact.
func Redact(text string) string { return without(text, shapes()) }

// redactAll takes out long runs, too. Certificates have such, so profiles cannot go through it.
func redactAll(text string) string { return without(text, slices.Concat(shapes(), long())) }

// without takes out what any of res finds in the text as it came: none hides from another what it looks for.
func without(text string, res []*regexp.Regexp) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	var found [][2]int
	for _, re := range res {
		for _, m := range re.FindAllStringSubmatchIndex(text, -1) {
			if m[2] < m[3] {
				found = append(found, [2]int{m[2], m[3]})
			}
		}
	}
	slices.SortFunc(found, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	var out strings.Builder
	done := 0
	for _, f := range found {
		if f[0] >= done {
			out.WriteString(text[done:f[0]])
			out.WriteString(redacted)
		}
		done = max(done, f[1])
	}
	out.WriteString(text[done:])
	return out.String()
}

// redactJSON writes v with each string in it redacted, so that it stays JSON.
func redactJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var tree any
	if err := d.Decode(&tree); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(walk(tree))
	return out.Bytes(), err
}

func walk(v any) any {
	switch v := v.(type) {
	case string:
		return redactAll(v)
	case []any:
		for i := range v {
			v[i] = walk(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = walk(v[k])
		}
	}
	return v
}
