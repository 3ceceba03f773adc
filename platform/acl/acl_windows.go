package acl

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Of reads what protects an open file or folder; the handle needs READ_CONTROL.
func Of(h windows.Handle) (List, error) {
	sd, err := windows.GetSecurityInfo(h, windows.SE_FILE_OBJECT, windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
	if err != nil {
		return List{}, os.NewSyscallError("GetSecurityInfo", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return List{}, os.NewSyscallError("GetSecurityDescriptorOwner", err)
	}
	var l List
	if owner != nil {
		l.Owner = owner.String()
	}
	dacl, _, err := sd.DACL()
	if err == windows.ERROR_OBJECT_NOT_FOUND || err == nil && dacl == nil {
		l.Open = true
		return l, nil
	}
	if err != nil {
		return List{}, os.NewSyscallError("GetSecurityDescriptorDacl", err)
	}
	for i := range uint32(dacl.AceCount) {
		var ace *windows.ACCESS_ALLOWED_ACE
		if err := windows.GetAce(dacl, i, &ace); err != nil {
			return List{}, os.NewSyscallError("GetAce", err)
		}
		e := Entry{Type: ace.Header.AceType, Flags: ace.Header.AceFlags, Mask: uint32(ace.Mask)}
		if e.Type == typeAllowed || e.Type == typeDenied { // others have their identifier elsewhere
			e.SID = (*windows.SID)(unsafe.Pointer(&ace.SidStart)).String()
		}
		l.Entries = append(l.Entries, e)
	}
	return l, nil
}

// User is the identifier of the account that this process runs as, and whether it has the administrators' rights.
func User() (sid string, admin bool, err error) {
	token := windows.GetCurrentProcessToken()
	user, err := token.GetTokenUser()
	if err != nil {
		return "", false, os.NewSyscallError("GetTokenInformation", err)
	}
	admins, err := windows.StringToSid(Administrators)
	if err != nil {
		return "", false, err
	}
	groups, err := token.GetTokenGroups()
	if err != nil {
		return "", false, os.NewSyscallError("GetTokenInformation", err)
	}
	sid = user.User.Sid.String()
	admin = sid == System
	for _, g := range groups.AllGroups() {
		admin = admin || g.Sid.Equals(admins) && g.Attributes&windows.SE_GROUP_ENABLED != 0 && g.Attributes&windows.SE_GROUP_USE_FOR_DENY_ONLY == 0
	}
	return sid, admin, nil
}
