package view

import (
	"strings"

	"github.com/adit-vpn/adit/gui/i18n"
)

// reason words what package routes says about a route; routes.Reasons lists it. What a newer service says stays
// in its own words.
func (r renderer) reason(text string) string {
	ending := i18n.Key{}
	for _, e := range reasonEndings {
		if phrase, ok := strings.CutSuffix(text, e.text); ok {
			text, ending = phrase, e.key
			break
		}
	}
	words := clean(text, maxDetail)
	if k, ok := reasonPhrases[text]; ok {
		words = r.t(k)
	}
	if !ending.IsZero() {
		words = r.t(ending, "reason", words)
	}
	return words
}

// guardReason words what package routes says about a guard; routes.GuardWords lists it.
func (r renderer) guardReason(text string) string {
	if k, ok := guardPhrases[text]; ok {
		return r.t(k)
	}
	return clean(text, maxDetail)
}

// Read-only, by the texts of package routes.
var (
	reasonPhrases = map[string]i18n.Key{
		"all traffic is redirected": i18n.WhyAll,
		"all traffic is redirected (as two halves, so that the old default route stays)": i18n.WhyAll,
		"the server's own address":                   i18n.WhyServer,
		"pushed by the server":                       i18n.WhyPushed,
		"named in the profile":                       i18n.WhyProfile,
		"added by a setting of this profile":         i18n.WhySetting,
		"IPv6 is blocked by the server's block-ipv6": i18n.WhyBlock6,
		"IPv6 is blocked: all traffic is redirected, and the server carries no IPv6": i18n.WhyNo6,
		"IPv4 is blocked: all traffic is redirected, and the server carries no IPv4": i18n.WhyNo4,
		"the tunnel's other end":                                            i18n.WhyPeer,
		"local networks are blocked by block-local":                         i18n.WhyLocal,
		"the server enforces its routes over those of this machine":         i18n.WhyEnforced,
		"the gateway of the local network":                                  i18n.WhyGateway,
		"the system's own resolver (bypass-dns)":                            i18n.WhyResolver,
		"the server's own address, which has no way outside the tunnel now": i18n.WhyCut,
		"an address of this machine":                                        i18n.WhyOwnAddress,
		"the tunnel's own network":                                          i18n.WhyOwnNetwork,
		"no more specific route leads into the tunnel":                      i18n.WhyNoRoute,
		"another user's tunnel":                                             i18n.WhyAnotherUser,
	}
	guardPhrases = map[string]i18n.Key{
		"the guard is open": i18n.GuardIsOpen,
		"the guard lets it pass: it goes through the tunnel":                                    i18n.GuardPassTunnel,
		"the guard lets it pass: it stays in this machine":                                      i18n.GuardPassSelf,
		"the guard lets it pass: the plan leads it around the tunnel":                           i18n.GuardPassAround,
		"the guard blocks it but for web pages (TCP 80 and 443), while the sign-in is open":     i18n.GuardPassWeb,
		"the guard lets it pass: it is in the local network; but names are not asked for there": i18n.GuardPassNearby,
		"the guard lets it pass: it is in the local network":                                    i18n.GuardPassLocal,
		"the guard blocks it, but for the VPN's own packets to its server":                      i18n.GuardStopServer,
		"the guard blocks it: it belongs into the tunnel, and may not leave beside it":          i18n.GuardStop,
		"the guard lets it pass: it does not belong into the tunnel":                            i18n.GuardPassOutside,
	}
	reasonEndings = []struct {
		text string
		key  i18n.Key
	}{
		{" to go past the tunnel", i18n.WhyToGoPast},
		{" with its own gateway", i18n.WhyOwnGateway},
		{", which gives no address of this family: blocked", i18n.WhyNoFamily},
	}
)
