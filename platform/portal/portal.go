// Package portal asks the system's own network manager whether the network wants a sign-in before it lets anything
// through (a captive portal). It sends nothing to the network: neither to a third party nor to the portal.
package portal

import (
	"net/url"
	"strings"
)

// State is what is known.
type State struct {
	Captive bool   // the network manager's own check has met a portal
	URL     string // http or https, of the network's own choice: foreign text; empty: not known, or of no interest
}

// maxURL bounds an address that is shown to people, in bytes.
const maxURL = 300

// cleanURL is the address of a portal as the network names it (RFC 8910), or empty where it says that there is none, or
// something else.
func cleanURL(text string) string {
	text = strings.TrimRight(text, "\x00")
	u, err := url.Parse(text)
	if err != nil || len(text) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}

// judge combines a manager's word (unknown, captive, free) with a portal's address: alone, the address only says that
// there is a portal, which somebody may have signed in to.
func judge(c connectivity, address string) State {
	if c == free {
		return State{}
	}
	return State{Captive: c == captive, URL: address}
}

// connectivity is what a network manager has found out.
type connectivity int

const (
	unsure connectivity = iota
	captive
	free
)

// Config says where to look; the zero Config is this machine.
type Config struct {
	Bus   string // D-Bus address; empty: the system's bus
	Links string // networkd's folder of links; empty: the system's
}
