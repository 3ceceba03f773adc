package push

import (
	"fmt"
	"slices"
	"strings"
)

// updatable says whether a PUSH_UPDATE may change an option (openvpn 2.7,
// options_util.c), and whether it does nothing without a value.
func updatable(name string) (ok, wantsValue bool) {
	switch name {
	case "route", "route-ipv6", "dns", "dhcp-option", "ifconfig", "ifconfig-ipv6", "route-gateway", "route-metric", "topology", "tun-mtu", "keepalive":
		return true, true
	case "block-ipv6", "block-outside-dns", "redirect-gateway", "redirect-private", "push-continuation":
		return true, false
	}
	return false, false
}

// replaced returns the names that go when name comes or is removed.
func replaced(name string) []string {
	switch name {
	case "redirect-gateway", "redirect-private":
		return []string{"redirect-gateway", "redirect-private"}
	case "keepalive":
		return []string{"keepalive", "ping", "ping-restart"}
	}
	return []string{name}
}

// change is one option of a PUSH_UPDATE.
type change struct {
	name, text       string // without the signs
	remove, optional bool
}

// parseChange reads the signs in front of an option: - removes, ? allows the
// receiver to skip it, -? both (options_util.c, check_push_update_option_flags).
func parseChange(option string) (change, error) {
	var c change
	option = trim(option)
	c.text, c.remove = strings.CutPrefix(option, "-")
	c.text, c.optional = strings.CutPrefix(c.text, "?")
	c.name = firstWord(c.text)
	if c.name == "" || c.optional && c.name[0] == '-' {
		return c, &OptionError{optionName(option), "not an option of a PUSH_UPDATE"}
	}
	return c, nil
}

// Merge applies the options of one whole PUSH_UPDATE (all its continuations
// together) to the options of a reply and returns the new list; it modifies
// neither. The first option of a name removes all of that name, the next ones
// add up; -name only removes. An option that cannot be updated is skipped when
// it is optional and an *OptionError otherwise: the receiver has to start a new
// session then. Values are not checked: Parse does.
func Merge(have, update []string) (merged []string, err error) {
	merged = slices.Clone(have)
	drop := func(name string) {
		names := replaced(name)
		merged = slices.DeleteFunc(merged, func(option string) bool {
			return slices.Contains(names, firstWord(option))
		})
	}
	fresh := map[string]bool{} // names of which the old ones are gone
	for _, option := range update {
		if strings.TrimSpace(option) == "" {
			continue
		}
		c, err := parseChange(option)
		if err != nil {
			return nil, err
		}
		ok, wantsValue := updatable(c.name)
		hasValue := strings.TrimSpace(c.text[len(c.name):]) != ""
		switch {
		case !ok && c.optional:
		case !ok:
			return nil, &OptionError{optionName(c.text), "cannot be changed while the session lasts"}
		case c.name == "push-continuation":
		case c.remove && !hasValue:
			drop(c.name)
		case c.remove || wantsValue && !hasValue:
			// meaningless; openvpn only logs it
		default:
			if group := replaced(c.name)[0]; !fresh[group] {
				fresh[group] = true
				drop(c.name)
			}
			merged = append(merged, c.text)
		}
	}
	if len(merged) > maxOptions {
		return nil, fmt.Errorf("%d options are too many", len(merged))
	}
	return merged, nil
}

// Difference is the inverse of Merge for a server: the options of a PUSH_UPDATE
// that turns have into want. It is empty when nothing differs, and ok is false
// when only a new session can bring the change. What a session settles by itself
// (cipher, flags, peer-id, tokens) is not compared. Timers are not updatable:
// openvpn 2.7 takes keepalive in an update, but does not act on it.
func Difference(have, want []string) (update []string, ok bool) {
	before, after := group(have), group(want)
	done := map[string]bool{}
	for _, name := range slices.Concat(before.names, after.names) {
		if done[name] || slices.Equal(before.options[name], after.options[name]) {
			continue
		}
		done[name] = true
		able, _ := updatable(name)
		switch {
		case settled(name):
		case !able || name == "keepalive":
			return nil, false
		case len(after.options[name]) == 0:
			update = append(update, "-"+name)
		default:
			update = append(update, after.options[name]...)
		}
	}
	return update, true
}

// grouped is a list of options by what replaces each other, in order of appearance.
type grouped struct {
	names   []string
	options map[string][]string
}

func group(options []string) grouped {
	g := grouped{options: map[string][]string{}}
	for _, option := range options {
		name := firstWord(option)
		if name == "" {
			continue
		}
		if ok, _ := updatable(name); ok && name != "keepalive" {
			name = replaced(name)[0]
		}
		if _, seen := g.options[name]; !seen {
			g.names = append(g.names, name)
		}
		g.options[name] = append(g.options[name], option)
	}
	return g
}

// settled reports options that belong to the session and not to the configuration. An echo was heard when it began.
func settled(name string) bool {
	switch name {
	case "push-continuation", "cipher", "key-derivation", "protocol-flags", "peer-id", "auth-token", "auth-token-user", "echo":
		return true
	}
	return false
}

func firstWord(option string) string {
	option = strings.TrimLeftFunc(option, func(r rune) bool { return r < 0x80 && isSpace(byte(r)) })
	if i := strings.IndexFunc(option, func(r rune) bool { return r <= ' ' }); i >= 0 {
		return option[:i]
	}
	return option
}

// Update drops from the options of a PUSH_UPDATE to have what the rules ignore, before
// Merge: an ignored option must not remove the old ones of its name. A reject
// rule gives an *OptionError, unless the option is optional (options_parse.c,
// apply_push_options).
func (f Filter) Update(have, update []string) (kept []string, err error) {
	enforced, _ := f.enforced(have)
	for _, option := range update {
		c, err := parseChange(option)
		if err != nil {
			kept = append(kept, option) // Merge says why
			continue
		}
		switch action := f.Decide(c.text); {
		case action == Accept, action == Ignore && enforced && leads(c.name):
			kept = append(kept, option)
		case action == Reject && !c.optional:
			return nil, &OptionError{optionName(c.text), "rejected by a pull-filter rule of the profile"}
		}
	}
	return kept, nil
}
