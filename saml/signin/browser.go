package signin

import (
	"github.com/pkg/browser"

	"github.com/adit-vpn/adit/ovpn/challenge"
)

// NewBrowser returns what shows an address in the person's browser, with the program that the
// desktop names for it; it may block until that program ends. Call it once in a process: what such
// programs print would spoil our standard output, and pkg/browser can be told so only for all.
func NewBrowser() func(url string) error {
	browser.Stdout, browser.Stderr = nil, nil // the null device, by os/exec
	return func(url string) error {
		if err := challenge.CheckURL(url); err != nil {
			return err
		}
		return browser.OpenURL(url)
	}
}
