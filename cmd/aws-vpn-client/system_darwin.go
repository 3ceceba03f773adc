package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// administrators says where the administrator of the machine decides. The policy's file is beside the service's state, in a
// folder that the service alone may make, and counts on machines that nobody manages (client.PolicyFirst in aditd).
func administrators() places {
	const policy, managed = "/var/db/adit/policy.json", "/Library/Managed Preferences/com.adit.client.plist"
	return places{profiles: "/Library/Application Support/Adit/Profiles", policy: policy, set: func(key string, value any) error {
		if _, err := os.Lstat(managed); err == nil {
			return elsewhere(managed, key)
		}
		if _, err := os.Stat(filepath.Dir(policy)); errors.Is(err, fs.ErrNotExist) {
			return startFirst(filepath.Dir(policy))
		}
		return setPolicy(policy, key, value)
	}}
}
