package mdm

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/adit-vpn/adit/client"
)

//go:embed ansible
var role embed.FS

// ansible is an example of a playbook with a role: the files of the folder ansible, and those that hold the policy.
func ansible(policy []Setting) ([]File, error) {
	var files []File
	err := fs.WalkDir(role, "ansible", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := role.ReadFile(path)
		files = append(files, File{strings.TrimPrefix(path, "ansible/"), text})
		return err
	})
	if err != nil {
		return nil, err
	}
	return append(files,
		File{"group_vars/adit.yml", ansiblePolicy(policy)},
		File{"roles/adit/vars/main.yml", ansibleKeys()}), nil
}

// ansiblePolicy are the variables of the machines: values in JSON are YAML, too.
func ansiblePolicy(policy []Setting) []byte {
	var b strings.Builder
	b.WriteString(`# What the machines of the group adit get.
---
# The package on this machine, .deb or .rpm; empty: it is installed already.
adit_package: ""

# Managed profiles: a name, and the file on this machine.
adit_profiles: []
# adit_profiles:
#   - {name: corp, src: files/corp.ovpn}

# The policy. Leave out what is not to be decided: a key that is there is one that people cannot change.
adit_policy:
`)
	for _, s := range policy {
		fmt.Fprintf(&b, "  # %s\n  %s: %s\n", plain(s.Key.Title.English), s.Key.Name, compact(s.Value))
	}
	if len(policy) == 0 {
		b.WriteString("  {}\n")
	}
	return []byte(b.String())
}

// ansibleKeys are the keys that there are, so that a wrong one is found before it is on a thousand machines.
func ansibleKeys() []byte {
	var b strings.Builder
	b.WriteString("---\nadit_policy_keys:\n")
	for _, k := range client.PolicySchema() {
		fmt.Fprintf(&b, "  - %s\n", k.Name)
	}
	return []byte(b.String())
}
