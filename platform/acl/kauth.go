package acl

import (
	"encoding/binary"
	"fmt"
)

// The access list of a file on macOS, which the permission bits do not show: a kauth_filesec (xnu, bsd/sys/kauth.h) in the
// order of bytes of every Mac.
const (
	kauthMagic   = 0x012cc16d
	kauthHeader  = 44 // magic, two identifiers of 16 bytes, the number of entries, flags
	kauthEntry   = 24 // an identifier, flags, rights
	kauthEntries = 128
	kauthNone    = 0xffffffff // there is no list

	kauthKind        = 0xf // of the flags
	kauthPermit      = 1
	kauthOnlyInherit = 1 << 8

	// kauthWrite are the rights WRITE_DATA, DELETE, APPEND_DATA, DELETE_CHILD, WRITE_ATTRIBUTES,
	// WRITE_EXTATTRIBUTES, WRITE_SECURITY, TAKE_OWNERSHIP, and the generic ones ALL and WRITE.
	kauthWrite = 1<<2 | 1<<4 | 1<<5 | 1<<6 | 1<<8 | 1<<10 | 1<<12 | 1<<13 | 1<<21 | 1<<23
)

// kauthFault says why an access list of macOS lets somebody write, whoever that is; empty: it does not. No bytes are no
// list.
func kauthFault(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) < kauthHeader || binary.LittleEndian.Uint32(b) != kauthMagic {
		return "its access list is not understood"
	}
	n := binary.LittleEndian.Uint32(b[kauthHeader-8:])
	if n == kauthNone {
		return ""
	}
	entries := b[kauthHeader:]
	if n > kauthEntries || len(entries) < int(n)*kauthEntry {
		return "its access list is not understood"
	}
	for i := range int(n) {
		e := entries[i*kauthEntry:]
		flags, rights := binary.LittleEndian.Uint32(e[16:]), binary.LittleEndian.Uint32(e[20:])
		if flags&kauthKind == kauthPermit && flags&kauthOnlyInherit == 0 && rights&kauthWrite != 0 {
			return fmt.Sprintf("entry %d of its access list lets others write it (ls -le shows it)", i)
		}
	}
	return ""
}
