// Package sessions tells who is signed in to the machine. It starts no goroutine that outlives a call.
package sessions

import "errors"

// ErrNotSupported is returned by Watch where nobody can tell.
var ErrNotSupported = errors.New("sessions of users are not known here")

// User is somebody with a session of one's own: at the screen, at a terminal, or over ssh.
type User struct {
	Account string // as ipc.Account has it
	Person  bool   // the account is one of those that systems give to people, not to programs
}
