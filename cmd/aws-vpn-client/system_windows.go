package main

import (
	"path/filepath"

	"golang.org/x/sys/windows"

	"github.com/adit-vpn/adit/platform/managed"
)

// policyKey is the group policies' key below HKEY_LOCAL_MACHINE, where aditd reads the policy.
const policyKey = `SOFTWARE\Policies\Adit`

// administrators says where the administrator of the machine decides.
func administrators() places {
	p := places{policy: `HKLM\` + policyKey, set: managed.Registry{Path: policyKey}.Set}
	if dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0); err == nil {
		p.above = filepath.Join(dir, "Adit")
		p.profiles = filepath.Join(p.above, "Profiles")
	}
	return p
}
