package pki

import "errors"

// What can go wrong. Each comes wrapped in an *Error, which adds the thing, and
// what to do about it.
var (
	ErrNoCA        = errors.New("no CA here")
	ErrCAExists    = errors.New("there is a CA already")
	ErrCAEncrypted = errors.New("the CA key is encrypted")
	ErrCAMismatch  = errors.New("the CA key does not belong to the CA certificate")
	ErrCAExpired   = errors.New("the CA certificate has expired")
	ErrNotCA       = errors.New("ca.crt is not a CA certificate")
	ErrExists      = errors.New("the name is taken")
	ErrNotFound    = errors.New("no such certificate")
	ErrBadName     = errors.New("bad name")
	ErrBadOption   = errors.New("bad option")
	ErrCorrupt     = errors.New("cannot be read")
	ErrUnwritten   = errors.New("cannot be written")
	ErrLocked      = errors.New("another program is using the PKI")
)

// Error is every error of this package.
type Error struct {
	Kind error  // one of the Err… values
	What string // the file, name or value
	Hint string // what to do, empty if there is nothing to say
	Err  error  // the cause beneath, may be nil
}

// Error is one line without the hint.
func (e *Error) Error() string {
	s := "pki: "
	if e.What != "" {
		s += e.What + ": "
	}
	s += e.Kind.Error()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the kind and the cause to errors.Is and errors.As.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}
