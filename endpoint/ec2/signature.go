package ec2

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// AWS Signature Version 4, as the "AWS General Reference" and the IAM user guide ("Create a signed AWS API request") describe
// it: an HMAC over the method, path, query, some headers and the body.
const (
	signatureMethod = "AWS4-HMAC-SHA256"
	scopeEnd        = "aws4_request"
	stampLayout     = "20060102T150405Z"
	maxSkew         = 15 * time.Minute // between the clocks of the caller and ours
	maxSigned       = 64               // headers under one signature
)

// authorization is what an Authorization header says. Only the signature proves any of it.
type authorization struct {
	key, day, region, service string
	headers                   []string // under the signature, lower case and sorted
	signature                 string   // 64 hexadecimal digits
}

// parseAuthorization reads an Authorization header; false for one of another kind or form.
func parseAuthorization(header string) (authorization, bool) {
	var a authorization
	rest, ok := strings.CutPrefix(header, signatureMethod+" ")
	if !ok || len(header) > 4096 {
		return a, false
	}
	parts := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := parts[name]; !ok || twice {
			return a, false
		}
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/")
	if len(parts) != 3 || len(scope) != 5 || slices.Contains(scope, "") || scope[4] != scopeEnd {
		return a, false
	}
	a.key, a.day, a.region, a.service = scope[0], scope[1], scope[2], scope[3]
	a.headers = strings.Split(parts["SignedHeaders"], ";")
	a.signature = parts["Signature"]
	if _, err := hex.DecodeString(a.signature); err != nil || len(a.signature) != 2*sha256.Size {
		return a, false
	}
	if len(a.headers) > maxSigned || slices.Contains(a.headers, "") || !slices.IsSorted(a.headers) || strings.ToLower(parts["SignedHeaders"]) != parts["SignedHeaders"] {
		return a, false
	}
	return a, true
}

// signed computes the signature that secret makes of a request with these headers and this body.
func (a authorization) signed(secret string, r *http.Request, body []byte) string {
	stamp := r.Header.Get("X-Amz-Date")
	digest := sha256.Sum256([]byte(canonical(r, a.headers, body)))
	text := strings.Join([]string{signatureMethod, stamp, strings.Join([]string{a.day, a.region, a.service, scopeEnd}, "/"), hex.EncodeToString(digest[:])}, "\n")
	key := []byte("AWS4" + secret)
	for _, step := range []string{a.day, a.region, a.service, scopeEnd, text} {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(step))
		key = mac.Sum(nil)
	}
	return hex.EncodeToString(key)
}

// canonical is the request in the form that is signed. The guard has made sure of the path / and an empty query.
func canonical(r *http.Request, headers []string, body []byte) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n/\n\n")
	for _, name := range headers {
		values := r.Header.Values(name)
		switch name { // net/http takes these two out of the headers
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{strconv.FormatInt(r.ContentLength, 10)}
		}
		b.WriteString(name + ":")
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(strings.Join(strings.Fields(v), " "))
		}
		b.WriteByte('\n')
	}
	digest := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(headers, ";") + "\n" + hex.EncodeToString(digest[:]))
	return b.String()
}

// verify checks a request's signature and age.
func (a authorization) verify(secret string, now time.Time, r *http.Request, body []byte) authFault {
	stamp, err := time.Parse(stampLayout, r.Header.Get("X-Amz-Date"))
	if err != nil || stamp.Format("20060102") != a.day {
		return badForm
	}
	if !slices.Contains(a.headers, "host") || !slices.Contains(a.headers, "x-amz-date") {
		return badForm
	}
	for name := range r.Header { // X-Amz-Target names ACM's action
		if name := strings.ToLower(name); strings.HasPrefix(name, "x-amz-") && !slices.Contains(a.headers, name) {
			return badForm
		}
	}
	if subtle.ConstantTimeCompare([]byte(a.signed(secret, r, body)), []byte(a.signature)) != 1 {
		return badSignature
	}
	if skew := now.Sub(stamp); skew > maxSkew || skew < -maxSkew {
		return badTime
	}
	return authOK
}

// authFault is what is wrong with a request's signature.
type authFault int

const (
	authOK       authFault = iota
	notSigned              // no Authorization header of this kind
	badForm                // a scope, date or header that cannot be
	badScope               // for another region or service
	badKey                 // an access key that nobody has
	badSignature           // another secret, or another request
	badTime                // too old, or from the future
)
