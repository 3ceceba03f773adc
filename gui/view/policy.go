package view

import "github.com/adit-vpn/adit/client/api"

// Policy is what the organization decides, as far as the app shows it. Zero values leave the choice to the
// person. The service enforces it; here it locks what would be refused.
type Policy struct {
	Language             string // "auto", "en", "ja"; empty: the person's choice
	Guard                string // off, auto, lockdown; empty: the person's choice
	AutoConnect          string // name of the profile that connects at sign-in; empty: the person's choice
	AlwaysOn             bool   // people do not disconnect it
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
		Language: p.Text("Language"), Guard: p.Text("Guard"), AutoConnect: p.Text("AutoConnect"), AlwaysOn: p.AlwaysOn != "",
		ForbidUserProfiles: p.Is("AllowUserProfiles", false) || p.Broken, ForbidSavedPasswords: p.Is("AllowSavedPasswords", false),
	}
	if p.Is("BlockWhenDisconnected", true) {
		out.Guard = "lockdown"
	}
	return out
}
