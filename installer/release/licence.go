// Package release makes what accompanies the packages of a release: the licences of everything that is linked, the bill of
// materials, the manifest and the checksums. It looks at the very files that are released. It is a tool of the build, no part of
// a program; it starts no goroutine.
package release

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// licences are those that a linked module may have, by their SPDX names, each with what stands in its text and in no other.
// What is not here needs a look by somebody first.
var licences = []struct {
	name   string
	phrase string
}{
	{"Apache-2.0", "apache license version 2.0, january 2004"},
	{"Apache-2.0", "licensed under the apache license, version 2.0"},
	{"MIT", "permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files"},
	{"ISC", "permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted"},
	{"MIT-Modern-Variant", "permission is hereby granted, without written agreement and without license or royalty fees, to use, copy, modify, and distribute this software"},
	{"OFL-1.1", "sil open font license version 1.1"},
	{"Zlib", "altered source versions must be plainly marked as such, and must not be misrepresented as being the original software"},
	{"Unlicense", "this is free and unencumbered software released into the public domain"},
	{"Bitstream-Vera", "to any person obtaining a copy of the fonts accompanying this license"},
}

// The BSD licences begin alike and differ in a clause.
const (
	bsd         = "redistribution and use in source and binary forms, with or without modification, are permitted provided that the following conditions are met"
	endorsement = "endorse or promote products derived from this software"
)

// refused are names in texts of licences that would bind Adit's own code or its users.
var refused = []string{
	"general public license", "gnu affero", "mozilla public license", "server side public license", "business source license", "eclipse public license",
	"common development and distribution license", "attribution-noncommercial", "commons clause", "european union public licence",
}

// Identify names the licences of a text, sorted. A text without one of the list, or with a refused one, is an error.
func Identify(text []byte) ([]string, error) {
	plain := strings.ToLower(string(text))
	plain = strings.NewReplacer("#", " ", "*", " ", "//", " ", "“", `"`, "”", `"`, "‘", "'", "’", "'").Replace(plain)
	plain = strings.Join(strings.Fields(plain), " ")
	for _, phrase := range refused {
		if strings.Contains(plain, phrase) {
			return nil, fmt.Errorf("it mentions the %s", phrase)
		}
	}
	var found []string
	for _, l := range licences {
		if strings.Contains(plain, l.phrase) {
			found = append(found, l.name)
		}
	}
	if _, after, ok := strings.Cut(plain, bsd); ok {
		if strings.Contains(after, endorsement) {
			found = append(found, "BSD-3-Clause")
		} else {
			found = append(found, "BSD-2-Clause")
		}
	}
	if len(found) == 0 {
		return nil, errors.New("it is none of the licences that are known")
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}
