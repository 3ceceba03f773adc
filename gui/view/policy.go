package view

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
