package view

import (
	"encoding/json"
	"strings"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/gui/i18n"
)

// Policy is what the organization decides, as far as the app shows it. Zero values leave the choice to the
// person. The service enforces it; here it locks what would be refused.
type Policy struct {
	Language             string // "auto", "en", "ja"; empty: the person's choice
	Guard                string // off, auto, lockdown; empty: the person's choice
	AutoConnect          string // name of the profile that connects at sign-in; empty: the person's choice
	AlwaysOn             bool   // people do not disconnect it
	Trusted              bool   // nothing connects by itself in the network of the moment
	ForbidUserProfiles   bool
	ForbidSavedPasswords bool
}

// locks says whether the person cannot change a setting, which may be a managed profile's.
func (p Policy) locks(id SettingID, managed bool) bool {
	switch id {
	case SettingSavePassword:
		return p.ForbidSavedPasswords
	case SettingGuard:
		return p.Guard != "" || managed
	case SettingProxy:
		return managed
	case SettingAutoConnect:
		return p.AutoConnect != "" || managed
	case SettingLanguage:
		return p.Language != "" && p.Language != "auto"
	}
	return false
}

// policyOf is the service's policy as the app shows it.
func policyOf(p *api.Policy) Policy {
	if p == nil {
		return Policy{}
	}
	out := Policy{
		Language: p.Text("Language"), Guard: p.Text("Guard"), AutoConnect: p.Text("AutoConnect"), AlwaysOn: p.AlwaysOn != "", Trusted: p.TrustedNetwork != "",
		ForbidUserProfiles: p.Is("AllowUserProfiles", false) || p.Broken, ForbidSavedPasswords: p.Is("AllowSavedPasswords", false),
	}
	if p.Is("BlockWhenDisconnected", true) {
		out.Guard = "lockdown"
	}
	return out
}

// managed is what the policy says, for who wants to know; its keys have the names by which administrators know them.
func (r renderer) managed() *Managed {
	p := r.status.Policy
	if p == nil {
		return nil
	}
	out := &Managed{Title: r.t(i18n.ManagedTitle)}
	if p.Source != "" {
		out.Rows = append(out.Rows, Row{Label: r.t(i18n.ManagedSource), Value: clean(p.Source, maxDetail)})
	}
	if len(p.Profiles) > 0 {
		out.Rows = append(out.Rows, Row{Label: r.t(i18n.ManagedProfiles), Value: r.list(p.Profiles, 20)})
	}
	for _, k := range p.Keys[:min(len(p.Keys), 40)] {
		out.Rows = append(out.Rows, Row{Label: clean(k.Name, maxTitle), Value: clean(policyValue(k.Value), maxPhrase)})
	}
	if len(p.Problems) > 0 || p.Broken {
		out.Notice = &Notice{Text: r.t(i18n.ManagedPartly)}
		if p.Broken {
			out.Notice.Text = r.t(i18n.ManagedBroken)
		}
		for _, text := range p.Problems[:min(len(p.Problems), 10)] {
			out.Notice.Hints = append(out.Notice.Hints, clean(text, maxPhrase))
		}
	}
	return out
}

// policyValue is a key's value without the marks of JSON, where it is one word or a list of them.
func policyValue(v json.RawMessage) string {
	var word string
	if json.Unmarshal(v, &word) == nil {
		return word
	}
	var words []string
	if json.Unmarshal(v, &words) == nil {
		return strings.Join(words, ", ")
	}
	return string(v)
}
