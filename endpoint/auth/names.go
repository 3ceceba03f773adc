package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/go-ldap/ldap/v3"
)

// account is a user name as it was typed, in the forms that a directory takes.
type account struct {
	bind   string // what the bind says: user@realm or DOMAIN\user; never a distinguished name
	filter string // finds the user, and perhaps others
}

var errName = errors.New("not a user name")

// Bounds of user names: AD's own are 20 for DOMAIN\user and 1024 for user@realm.
const maxName = 256

var (
	realmForm  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*$`)
	domainForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
)

// parseAccount reads user, user@realm and DOMAIN\user; the first is completed with realm.
func parseAccount(name, realm string) (account, error) {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return account{}, fmt.Errorf("%w: %d bytes, or characters that no name has", errName, len(name))
	}
	var bind, user, principal string
	switch domain, rest, down := strings.Cut(name, `\`); {
	case down:
		if !domainForm.MatchString(domain) || strings.ContainsAny(rest, `\@`) {
			return account{}, fmt.Errorf("%w: %q is not DOMAIN\\user", errName, name)
		}
		bind, user = name, rest
	case strings.Contains(name, "@"):
		at := strings.LastIndex(name, "@")
		if !realmForm.MatchString(name[at+1:]) {
			return account{}, fmt.Errorf("%w: %q is not user@realm", errName, name)
		}
		bind, user, principal = name, name[:at], name
	default:
		bind, user = name+"@"+realm, name
		principal = bind
	}
	if strings.TrimSpace(user) == "" || user[0] == '@' {
		return account{}, fmt.Errorf("%w: %q has no user", errName, name)
	}
	who := "(sAMAccountName=" + ldap.EscapeFilter(user) + ")"
	if principal != "" {
		who = "(|" + who + "(userPrincipalName=" + ldap.EscapeFilter(principal) + "))"
	}
	return account{bind: bind, filter: "(&(objectClass=user)" + who + ")"}, nil
}
