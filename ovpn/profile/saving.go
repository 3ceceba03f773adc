package profile

import "slices"

// ForbidsSaving says whether an echo text of a server, or of a profile, forbids to keep passwords;
// openvpn-gui has these, too.
func ForbidsSaving(echo string) bool {
	return echo == "disable-save-passwords" || echo == "forget-passwords"
}

// WhyNotSaved says why no program of the person may keep a password for the profile, in words for people
// that go on after the profile's name; empty: it may.
func (p *Profile) WhyNotSaved() string {
	switch {
	case p.AuthFederate:
		return "signs in with the browser, not with a password"
	case !p.AuthUserPass:
		return "signs in without a password"
	case p.AuthNoCache:
		return "has an auth-nocache line, which forbids to keep passwords"
	case slices.ContainsFunc(p.Own.Echo, ForbidsSaving):
		return "has an echo line that forbids to keep passwords"
	}
	return ""
}
