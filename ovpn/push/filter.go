package push

import (
	"slices"
	"strings"
)

// Action is what a pull-filter rule does with an option.
type Action uint8

// The actions of pull-filter, the stricter ones behind.
const (
	Accept Action = iota
	Ignore
	Reject
	// Forbid is for NoEnforcement alone.
	Forbid
)

// FilterRule is one pull-filter line: options that start with Prefix get Action.
type FilterRule struct {
	Action Action
	Prefix string
}

// Filter is the list of pull-filter rules in file order; the first match decides,
// and no match accepts (openvpn(8), --pull-filter).
type Filter []FilterRule

// NoEnforcement is a rule of the machine's administrator, which no profile can have: a server does not enforce its routes here
// (Reply.EnforceRoutes). Its place in the list does not matter.
func NoEnforcement() FilterRule { return FilterRule{Action: Forbid, Prefix: enforceRoutes} }

// enforced says whether the server of options enforces its routes, and whether that is forbidden.
func (f Filter) enforced(options []string) (enforced, forbidden bool) {
	forbidden = slices.Contains(f, NoEnforcement())
	return !forbidden && slices.ContainsFunc(options, func(o string) bool { return trim(o) == enforceRoutes }), forbidden
}

// Decide returns what happens to one pushed option. A server chooses how it writes one: the rules must let
// pass the text as it came, as openvpn wants it, and its words without quotes and with single spaces.
func (f Filter) Decide(option string) Action {
	action := f.decide(option)
	if words, err := Split(option); err == nil { // else Parse drops it
		action = max(action, f.decide(strings.Join(words, " ")))
	}
	return action
}

// decide returns what the first rule says whose prefix text has.
func (f Filter) decide(text string) Action {
	for _, r := range f {
		if r.Action != Forbid && strings.HasPrefix(text, r.Prefix) {
			return r.Action
		}
	}
	return Accept
}
