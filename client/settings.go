package client

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
)

// maxSettingItems bounds each list setting.
const maxSettingItems = 256

// applySetting applies one change of adit set ("guard=auto", "route+=10.0.0.0/8").
// An empty value empties a list.
func applySetting(s *api.Settings, change string) error {
	name, value, ok := strings.Cut(change, "=")
	bad := func(detail string) error {
		return api.NewProblem(api.CodeSettingInvalid, map[string]string{"setting": change, "detail": detail})
	}
	if !ok {
		return bad("it has no =")
	}
	value = strings.TrimSpace(value)
	switch name {
	case "auto_connect":
		on, err := parseSwitch(value)
		if err != nil {
			return bad("want true or false")
		}
		s.AutoConnect = on
	case "guard":
		switch value {
		case guardOff, guardAuto, guardLockdown:
			s.Guard = value
		default:
			return bad("want off, auto or lockdown")
		}
	case "route+", "route-":
		list, other := &s.RouteAdd, &s.RouteRemove
		if name == "route-" {
			list, other = other, list
		}
		if value == "" {
			*list = nil
			return nil
		}
		p, err := netip.ParsePrefix(value)
		if err != nil {
			return bad("want a network like 10.0.0.0/8")
		}
		p = p.Masked()
		*other = slices.DeleteFunc(slices.Clone(*other), func(o netip.Prefix) bool { return o == p })
		if slices.Contains(*list, p) {
			return nil
		}
		if len(*list) >= maxSettingItems {
			return bad("there are too many already")
		}
		*list = append(*list, p)
	case "pull_filter":
		if value == "" {
			s.PullFilter = nil
			return nil
		}
		if _, err := parseFilterRule(value); err != nil {
			return bad(err.Error())
		}
		if len(s.PullFilter) >= maxSettingItems {
			return bad("there are too many already")
		}
		s.PullFilter = append(s.PullFilter, value)
	case "proxy":
		if value != "" && value != noProxy {
			x, err := profile.ParseProxy(value)
			if err != nil {
				return bad(err.Error())
			}
			value = x.String()
		}
		s.Proxy = value
	case "save_password":
		on, err := parseSwitch(value)
		if err != nil {
			return bad("want true or false")
		}
		s.SavePassword = on
	default:
		return bad("there is no such setting")
	}
	return nil
}

func parseSwitch(value string) (bool, error) {
	switch value {
	case "yes", "on":
		return true, nil
	case "no", "off":
		return false, nil
	}
	return strconv.ParseBool(value)
}

type settingError string

func (e settingError) Error() string { return string(e) }

// parseFilterRule reads "accept|ignore|reject TEXT", TEXT optionally in double quotes.
func parseFilterRule(value string) (push.FilterRule, error) {
	word, text, _ := strings.Cut(value, " ")
	text = strings.TrimSpace(text)
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		text = text[1 : n-1]
	}
	var r push.FilterRule
	switch word {
	case "accept":
		r.Action = push.Accept
	case "ignore":
		r.Action = push.Ignore
	case "reject":
		r.Action = push.Reject
	default:
		return r, settingError("want accept, ignore or reject, and a text")
	}
	if text == "" {
		return r, settingError("the text after " + word + " is missing")
	}
	r.Prefix = text
	return r, nil
}

// withDefaults fills what a person expects to see in place of nothing.
func withDefaults(s api.Settings) api.Settings {
	s = cloneSettings(s)
	s.Guard = guardMode(s)
	if s.RouteAdd == nil {
		s.RouteAdd = []netip.Prefix{}
	}
	if s.RouteRemove == nil {
		s.RouteRemove = []netip.Prefix{}
	}
	if s.PullFilter == nil {
		s.PullFilter = []string{}
	}
	return s
}
