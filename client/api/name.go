package api

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxProfileName is the length of a profile's name in bytes.
const MaxProfileName = 64

// CheckName says why name cannot be a profile's name, or nil. Its error is a *Problem.
func CheckName(name string) error {
	invalid := func(detail string) error {
		return NewProblem(CodeProfileNameInvalid, map[string]string{"profile": strconv.Quote(name), "detail": detail})
	}
	switch {
	case name == "":
		return invalid("it is empty")
	case len(name) > MaxProfileName:
		return invalid(fmt.Sprintf("it has more than %d bytes", MaxProfileName))
	case !utf8.ValidString(name):
		return invalid("it is not UTF-8")
	}
	for i, r := range name {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if i == 0 && !letter {
			return invalid("it must begin with a letter or a digit")
		}
		if !letter && !unicode.IsMark(r) && !strings.ContainsRune(" ._-@+()", r) {
			return invalid(fmt.Sprintf("%q is not allowed", r))
		}
	}
	if strings.HasSuffix(name, " ") || strings.HasSuffix(name, ".") {
		return invalid("it ends in a space or a dot")
	}
	return nil
}
