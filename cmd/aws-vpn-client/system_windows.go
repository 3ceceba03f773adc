package main

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// administrators says where the administrator of the machine decides.
func administrators() places {
	p := places{instead: `HKLM\SOFTWARE\Policies\Adit`}
	if dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, 0); err == nil {
		p.above = filepath.Join(dir, "Adit")
		p.profiles = filepath.Join(p.above, "Profiles")
	}
	return p
}
