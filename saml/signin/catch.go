package signin

import (
	"errors"
	"fmt"
	"io"
	"log"
	"mime"
	"net/http"
	"net/url"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Sizes in bytes.
const (
	// maxResponse is AWS's bound of an assertion (AWS Client VPN quotas).
	maxResponse = 128 << 10
	// maxBody has room for a response of which each byte is escaped, and for RelayState.
	maxBody = 3*maxResponse + 4<<10
)

// catcher answers one port's requests. What is not the answer gets 400, and the wait goes on: other
// programs and foreign web pages can reach the port as well. It does not judge Origin, because
// browsers send "null" for a form that goes from https to http.
type catcher struct {
	host    string           // the only Host: a name that was made to resolve to 127.0.0.1 is not ours
	request string           // the AuthnRequest's ID; "": the address carried none
	answers chan push.Secret // room for one
}

func (c *catcher) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method == http.MethodOptions {
		c.preflight(w, r)
		return
	}
	answer, err := c.read(w, r)
	if err == nil {
		err = c.deliver(answer)
	}
	if err != nil {
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		http.Error(w, "This is not the answer to the sign-in that waits here: "+err.Error()+".", http.StatusBadRequest)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", pagePolicy)
	_, _ = io.WriteString(w, page)
}

// read takes the answer out of a request, or says in words for the person at the browser what is
// wrong. It does not repeat what came.
func (c *catcher) read(w http.ResponseWriter, r *http.Request) (push.Secret, error) {
	switch {
	case r.Host != c.host:
		return "", errors.New("it was sent to another host")
	case r.Method != http.MethodPost || r.URL.Path != "/":
		return "", errors.New("it is not POST /")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return "", errors.New("it is not a form")
	}
	if r.ContentLength > maxBody {
		return "", errors.New("it is too large")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", errors.New("it is too large or was cut off")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return "", errors.New("it is not a form")
	}
	field := form["SAMLResponse"]
	switch {
	case len(field) != 1 || field[0] == "":
		return "", errors.New("it has not one SAMLResponse")
	case len(field[0]) > maxResponse:
		return "", fmt.Errorf("its SAMLResponse is larger than %d KiB", maxResponse>>10)
	}
	to, err := responseTo(field[0])
	switch {
	case err != nil:
		return "", errors.New("its SAMLResponse cannot be read")
	case c.request != "" && to != c.request:
		return "", errors.New("it answers another sign-in")
	}
	return push.Secret(field[0]), nil
}

// deliver hands the first answer over; there is no second.
func (c *catcher) deliver(answer push.Secret) error {
	select {
	case c.answers <- answer:
		return nil
	default:
		return errors.New("it was answered already")
	}
}

// preflight lets a browser send the form from a page of a public network to this machine (Private
// Network Access, https://wicg.github.io/private-network-access/; later drafts call it local
// network). Pages may only send with it, which they may without asking too; none may read.
func (c *catcher) preflight(w http.ResponseWriter, r *http.Request) {
	var grant string
	switch {
	case r.Header.Get("Access-Control-Request-Private-Network") == "true":
		grant = "Access-Control-Allow-Private-Network"
	case r.Header.Get("Access-Control-Request-Local-Network") == "true":
		grant = "Access-Control-Allow-Local-Network"
	}
	origin := r.Header.Get("Origin")
	if grant == "" || origin == "" || r.Host != c.host || r.URL.Path != "/" || r.Header.Get("Access-Control-Request-Method") != http.MethodPost {
		http.Error(w, "This is no question that a sign-in asks.", http.StatusBadRequest)
		return
	}
	h := w.Header()
	h.Set(grant, "true")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", http.MethodPost)
	h.Set("Access-Control-Allow-Headers", "Content-Type")
	h.Set("Access-Control-Allow-Credentials", "true") // a form's navigation brings cookies
	h.Set("Vary", "Origin")
	w.WriteHeader(http.StatusNoContent)
}

// The page says what AWS's client says. Browsers let a script close only what a script opened.
const (
	pageScript = "window.close()"
	pagePolicy = "default-src 'none'; script-src 'sha256-jqxtvDkBbRAl9Hpqv68WdNOieepg8tJSYu1xIy7zT34='; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	page       = `<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Signed in</title></head>
<body><p>Authentication details received, processing details. You may close this window at any time.</p>
<script>` + pageScript + `</script></body></html>
`
)

// silent takes what net/http says of strangers' requests.
func silent() *log.Logger { return log.New(io.Discard, "", 0) }
