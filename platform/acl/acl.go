// Package acl tells who may change a file or folder by its access list: on Windows, where that is all there is, and on macOS,
// where it stands beside the permission bits (kauth.go). The judgements are pure functions; only those that take
// a handle ask the system. It starts no goroutine.
package acl

import (
	"fmt"
	"slices"
)

// List is what protects one file or folder.
type List struct {
	Owner   string // a security identifier ("S-1-5-18")
	Entries []Entry
	// Open says that there is no list, which lets everybody do everything (SECURITY_DESCRIPTOR, a NULL DACL).
	Open bool
}

// Entry is one line of the list.
type Entry struct {
	Type  byte   // ACE_HEADER.AceType
	Flags byte   // ACE_HEADER.AceFlags
	Mask  uint32 // ACCESS_MASK
	SID   string // whose rights these are; empty where the type has none in its usual place
}

// The types and flags that count here (winnt.h).
const (
	typeAllowed = 0
	typeDenied  = 1
	inheritOnly = 0x08 // for what is made inside, not for the folder itself
)

// Rights (winnt.h). The same bits have another meaning for folders: a name added, a folder added, a child deleted.
const (
	writeData       = 0x2
	appendData      = 0x4
	writeEA         = 0x10
	deleteChild     = 0x40
	writeAttributes = 0x100
	del             = 0x10000
	writeDAC        = 0x40000
	writeOwner      = 0x80000
	genericAll      = 0x10000000
	genericWrite    = 0x40000000
	maximumAllowed  = 0x02000000

	// replace is what lets others put something else in the place of what is there.
	replace = deleteChild | del | writeDAC | writeOwner | genericAll | genericWrite | maximumAllowed
	// write is what lets others change it, or add to it.
	write = replace | writeData | appendData | writeEA | writeAttributes
)

// Identifiers that every Windows has ("Well-known SIDs"; TrustedInstaller is the service that owns Windows' own files).
const (
	System           = "S-1-5-18"
	Administrators   = "S-1-5-32-544"
	trustedInstaller = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
	ownerRights      = "S-1-3-4" // whoever the owner is
)

// named is an identifier as people know it.
func named(sid string) string {
	switch sid {
	case "S-1-1-0":
		return "Everyone"
	case "S-1-5-4":
		return "INTERACTIVE"
	case "S-1-5-11":
		return "Authenticated Users"
	case "S-1-5-32-545":
		return "Users"
	case "":
		return "nobody"
	}
	return sid
}

// Fault says who beside SYSTEM, the administrators, TrustedInstaller and those of also may change the file or the folder, as a
// reason ("Users can write it"); empty: nobody.
func (l List) Fault(also ...string) string { return l.fault(write, "can write it", also) }

// FaultAbove is Fault for a folder above the one that matters: others may add to it, as everybody may to C:\ and to
// C:\ProgramData, but not take away what is there. What they add is theirs, which Fault finds.
func (l List) FaultAbove() string { return l.fault(replace, "can replace what is in it", nil) }

func (l List) fault(rights uint32, what string, also []string) string {
	trusted := append([]string{System, Administrators, trustedInstaller}, also...)
	if !slices.Contains(trusted, l.Owner) {
		return fmt.Sprintf("it belongs to %s, not to the administrators", named(l.Owner))
	}
	if l.Open {
		return "everybody " + what + " (it has no access list)"
	}
	for _, e := range l.Entries {
		switch {
		case e.Type == typeDenied || e.Flags&inheritOnly != 0:
		case e.Type != typeAllowed:
			return fmt.Sprintf("its access list has an entry of type %d, which is not understood", e.Type)
		case e.Mask&rights != 0 && e.SID != ownerRights && !slices.Contains(trusted, e.SID):
			return fmt.Sprintf("%s %s", named(e.SID), what)
		}
	}
	return ""
}
