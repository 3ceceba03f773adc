package auth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The limits of AWS for the groups of one user: more are ignored.
const (
	maxGroups  = 200
	maxGroupID = 255
)

var errSID = errors.New("malformed security identifier")

// sidText is the text form of a binary security identifier (MS-DTYP §2.4.2): "S-1-5-21-…".
func sidText(b []byte) (string, error) {
	const header, most = 8, 15
	if len(b) < header || b[0] != 1 || b[1] > most || len(b) != header+4*int(b[1]) {
		return "", fmt.Errorf("%w of %d bytes", errSID, len(b))
	}
	var authority uint64
	for _, c := range b[2:header] {
		authority = authority<<8 | uint64(c)
	}
	s := "S-1-" + strconv.FormatUint(authority, 10)
	if authority >= 1<<32 {
		s = fmt.Sprintf("S-1-0x%012X", authority)
	}
	for i := header; i < len(b); i += 4 {
		s += "-" + strconv.FormatUint(uint64(binary.LittleEndian.Uint32(b[i:])), 10)
	}
	return s, nil
}

// groupIDs is the identifiers of groups out of binary ones: each once, sorted, those of domains
// first, within AWS's limits. Those of logons such as Everyone are left out: no one was put into
// them.
func groupIDs(sids [][]byte) ([]string, error) {
	var domain, builtin []string
	for _, b := range sids {
		s, err := sidText(b)
		switch {
		case err != nil:
			return nil, err
		case len(s) > maxGroupID:
		case strings.HasPrefix(s, "S-1-5-21-"):
			domain = append(domain, s)
		case strings.HasPrefix(s, "S-1-5-32-"):
			builtin = append(builtin, s)
		}
	}
	slices.Sort(domain)
	slices.Sort(builtin)
	all := append(slices.Compact(domain), slices.Compact(builtin)...)
	return all[:min(len(all), maxGroups)], nil
}

// domainSID is the identifier of another account of the domain of sid, both binary.
func domainSID(sid []byte, relative uint32) []byte {
	out := slices.Clone(sid)
	binary.LittleEndian.PutUint32(out[len(out)-4:], relative)
	return out
}
