// Command browser is a person at a browser, for tests: installed as xdg-open, it opens the address that
// it is given in a headless Chromium, fills in the identity provider's form, and waits until the answer
// has reached its destination on loopback.
//
//	BROWSER_USER, BROWSER_PASSWORD  what the person types
//	BROWSER_HOSTS                   Chromium's --host-resolver-rules, for names that no resolver knows
//	BROWSER_UNTRUSTED=1             take any certificate
package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// atMost is how long one sign-in may take on a busy machine.
const atMost = 90 * time.Second

// answerAt is where the answer goes (saml/sp.ACS).
const answerAt = "127.0.0.1:35001"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: browser URL")
		os.Exit(2)
	}
	if err := signIn(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "browser:", err)
		os.Exit(1)
	}
}

func signIn(address string) error {
	dir, err := os.MkdirTemp("", "browser-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.UserDataDir(dir), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true))
	if rules := os.Getenv("BROWSER_HOSTS"); rules != "" {
		options = append(options, chromedp.Flag("host-resolver-rules", rules))
	}
	if os.Getenv("BROWSER_UNTRUSTED") == "1" {
		options = append(options, chromedp.IgnoreCertErrors)
	}
	ctx, cancel := context.WithTimeout(context.Background(), atMost)
	defer cancel()
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	defer stop()
	ctx, closeTab := chromedp.NewContext(ctx)
	defer closeTab()
	user, password := chromedp.CSS(`input[name="username"]`), chromedp.CSS(`input[name="password"]`)
	err = chromedp.Do(ctx,
		chromedp.Navigate(address),
		chromedp.WaitVisible(user),
		chromedp.SendKeys(user, os.Getenv("BROWSER_USER")),
		chromedp.SendKeys(password, os.Getenv("BROWSER_PASSWORD")+kb.Enter),
	)
	if err != nil {
		return fmt.Errorf("at %s: %w", address, err)
	}
	return answered(ctx)
}

// answered waits until the browser has come to answerAt; the page there may close itself.
func answered(ctx context.Context) error {
	for at := ""; ; time.Sleep(100 * time.Millisecond) {
		now, err := chromedp.Run(ctx, chromedp.Location())
		switch {
		case ctx.Err() != nil:
			return errors.New("the identity provider did not send the browser on; it is at " + at)
		case err != nil && at == "":
			return err
		case err != nil:
			fmt.Println("the page closed after", at)
			return nil
		}
		at = now
		if u, err := url.Parse(at); err != nil || u.Host != answerAt {
			continue
		}
		text, err := chromedp.Run(ctx, chromedp.Text(chromedp.CSS("body")))
		if err != nil {
			text = "the page closed: " + err.Error()
		}
		fmt.Println("answered:", text)
		return nil
	}
}
