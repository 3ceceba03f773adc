package push

import "strings"

// Action is what a pull-filter rule does with an option.
type Action uint8

// The actions of pull-filter.
const (
	Accept Action = iota
	Ignore
	Reject
)

// FilterRule is one pull-filter line: options that start with Prefix get Action.
type FilterRule struct {
	Action Action
	Prefix string
}

// Filter is the list of pull-filter rules in file order; the first match decides,
// and no match accepts (openvpn(8), --pull-filter).
type Filter []FilterRule

// Decide returns what happens to one pushed option.
func (f Filter) Decide(option string) Action {
	for _, r := range f {
		if strings.HasPrefix(option, r.Prefix) {
			return r.Action
		}
	}
	return Accept
}
