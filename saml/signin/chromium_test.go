package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPagePolicy: the policy lets the page's own script run.
func TestPagePolicy(t *testing.T) {
	sum := sha256.Sum256([]byte(pageScript))
	if !strings.Contains(pagePolicy, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") {
		t.Errorf("the script's hash is %s", base64.StdEncoding.EncodeToString(sum[:]))
	}
}

// TestChromium: a real browser posts the answer from an identity provider's page on another
// loopback port. Before that, the same page tries to slip in an answer to another sign-in, and asks for
// what a preflight must not grant; both fail, and the wait goes on. Once more with the page counted as
// one of a public network, from where Chromium sends forms to loopback without a preflight today.
func TestChromium(t *testing.T) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing")
		}
		t.Skip("left out: needs chromium")
	}
	for _, public := range []bool{false, true} {
		t.Run(fmt.Sprint("public ", public), func(t *testing.T) {
			port := freePort(t)
			acs := fmt.Sprintf("http://127.0.0.1:%d", port)
			reports := make(chan string, 1)
			idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/sso":
					id, err := requestID("http://x/?" + r.URL.RawQuery)
					if err != nil {
						t.Errorf("the request: %v", err)
					}
					w.Header().Set("Content-Type", "text/html")
					fmt.Fprintf(w, idpPage, acs, samlResponse(id), !public, url.QueryEscape(samlResponse("_theirs")))
				case "/report":
					reports <- r.URL.RawQuery
				}
			}))
			defer idp.Close()
			data := t.TempDir()
			args := []string{"--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0", "--user-data-dir=" + data}
			if public {
				args = append(args, "--ip-address-space-overrides="+strings.TrimPrefix(idp.URL, "http://")+"=public")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			ended := make(chan error, 1)
			answer, err := Run(ctx, Config{URL: ssoURL(t, idp.URL+"/sso", "_chromium"), Port: port, Notify: func(string) {},
				Open: func(address string) error {
					cmd := exec.CommandContext(ctx, path, append(args, address)...)
					cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // so that its children go, too
					cmd.WaitDelay = 10 * time.Second
					ended <- cmd.Run()
					return nil
				}})
			if err != nil {
				t.Fatal(err)
			}
			if answer.Reveal() != samlResponse("_chromium") {
				t.Error("another answer than the page's")
			}
			for pending(t, data) { // the answer page follows, and closes itself where it may
				if ctx.Err() != nil {
					t.Fatal("the browser does not show the answer page")
				}
				time.Sleep(100 * time.Millisecond)
			}
			cancel()
			<-ended
			if !public {
				if got := <-reports; got != "opaque,refused" {
					t.Errorf("the foreign requests ended with %q", got)
				}
			}
		})
	}
}

// pending says whether the browser with this directory shows another page than the answer page; showing
// none is fine, because it was closed then.
func pending(t *testing.T, data string) bool {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "DevToolsActivePort"))
	if err != nil {
		return true // it still starts
	}
	port, _, _ := strings.Cut(string(text), "\n")
	resp, err := http.Get("http://127.0.0.1:" + port + "/json/list")
	if err != nil {
		return false // it ended with its last page
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var list []struct{ Type, Title string }
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		if x.Type == "page" && x.Title != "Signed in" {
			return true
		}
	}
	return false
}

// idpPage wants the address of the form, the response, whether to try the foreign requests, and the foreign
// response.
const idpPage = `<!DOCTYPE html><title>IdP</title>
<form method="post" action="%s"><input name="SAMLResponse" value="%s"><input name="RelayState" value=""></form>
<script>
(async () => {
  const form = document.forms[0];
  if (%t) {
    const foreign = await fetch(form.action, {method: "POST", mode: "no-cors",
      headers: {"Content-Type": "application/x-www-form-urlencoded"}, body: "SAMLResponse=%s"});
    const asked = await fetch(form.action, {method: "POST", headers: {"X-Custom": "1"}, body: "x"}).then(() => "granted", () => "refused");
    await fetch("/report?" + foreign.type + "," + asked);
  }
  form.submit();
})();
</script>`
