package main

import (
	"path/filepath"
	"strings"

	"github.com/adit-vpn/adit/endpoint"
)

// checkAuth refuses flags of sign-in that do not fit together.
func (f *upFlags) checkAuth() error {
	switch f.auth {
	case "", "mutual", "directory", "federated":
	default:
		return usagef("use --auth mutual, directory or federated", "--auth %q is not mutual, directory or federated", f.auth)
	}
	switch {
	case f.config != "" && (f.auth != "" || f.users != "" || f.idp != ""):
		return usagef("write it into "+f.config+" under authentication", "--auth, --users and --idp are for an endpoint without a file")
	case f.users != "" && f.auth != "directory" && f.idp != "demo":
		return usagef("add --auth directory, or --auth federated --idp demo", "--users is for --auth directory and --idp demo")
	case f.idp != "" && f.auth != "federated":
		return usagef("add --auth federated", "--idp is for --auth federated")
	case f.auth == "directory" && f.users == "":
		return usagef("--auth directory --users FILE; a directory server is named in a file: --config FILE", "--auth directory needs the users")
	case f.auth == "federated" && f.idp == "":
		return usagef("--auth federated --idp demo, or the file of a provider's metadata", "--auth federated needs the identity provider")
	}
	return nil
}

// methods are those of the flags; none for certificates. Files are named so that they are
// found from any directory.
func (f *upFlags) methods() ([]endpoint.Authentication, error) {
	switch f.auth {
	case "directory":
		file, err := filepath.Abs(f.users)
		return []endpoint.Authentication{{Directory: &endpoint.Directory{Users: file}}}, err
	case "federated":
		if f.idp == "demo" {
			demo := &endpoint.Federated{Demo: true}
			var err error
			if f.users != "" {
				demo.Users, err = filepath.Abs(f.users)
			}
			return []endpoint.Authentication{{Federated: demo}}, err
		}
		file, err := filepath.Abs(f.idp)
		return []endpoint.Authentication{{Federated: &endpoint.Federated{Metadata: file}}}, err
	}
	return nil, nil
}

// shown says what clients must have.
func shown(cfg *endpoint.Config, code bool) string {
	mutual, directory, federated := cfg.Methods()
	var list []string
	put := func(on bool, what string) {
		if on {
			list = append(list, what)
		}
	}
	put(mutual != nil, "a certificate")
	put(directory != nil, "a password")
	put(code, "a code")
	put(federated != nil, "a sign-in in the browser")
	return strings.Join(list, " and ")
}
