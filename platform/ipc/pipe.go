package ipc

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// What of Windows' pipes is no call of the system, and builds on all of them.

// Accounts and groups that every Windows has ("Well-known SIDs").
const (
	system         = "S-1-5-18"
	administrators = "S-1-5-32-544"
	interactive    = "S-1-5-4" // signed in with a screen, here or by remote desktop
)

// clientRights are FILE_GENERIC_READ and FILE_GENERIC_WRITE without FILE_APPEND_DATA, which for a pipe is
// FILE_CREATE_PIPE_INSTANCE: whoever had it could answer in the service's place.
const clientRights = 0x12019b

const (
	pipePrefix  = `\\.\pipe\`
	maxPipeName = 256 // characters, with the prefix (CreateNamedPipeW)
)

// pipeName is the pipe of a path: the path itself where it names a pipe, else a pipe of its own for each file, which is
// never made. The path of a file has to be whole.
func pipeName(path string) (name string, derived bool, err error) {
	if strings.IndexByte(path, 0) >= 0 {
		return "", false, errors.New("the pipe's name contains a zero byte")
	}
	path = strings.ReplaceAll(path, "/", `\`)
	if len(path) < len(pipePrefix) || !strings.EqualFold(path[:len(pipePrefix)], pipePrefix) {
		sum := sha256.Sum256([]byte(strings.ToLower(path))) // names of files do not tell case apart
		return pipePrefix + "adit-" + hex.EncodeToString(sum[:16]), true, nil
	}
	switch rest := path[len(pipePrefix):]; {
	case rest == "" || strings.Contains(rest, `\`):
		return "", false, fmt.Errorf("%s is not the name of a pipe", path)
	case len(path) > maxPipeName:
		return "", false, fmt.Errorf("the name is %d bytes long; pipes allow %d", len(path), maxPipeName)
	}
	return pipePrefix + path[len(pipePrefix):], false, nil
}

// pipeRights is the security descriptor of a pipe (SDDL) that a process of the user makes; root says that the process
// has an administrator's rights. The owner is who dialers believe (believes). With mode 0666 everybody who is signed in
// with a screen may connect, and with other modes the owner's account alone, beside SYSTEM and administrators. Nothing
// is given to NETWORK: who comes from another machine is turned away by PIPE_REJECT_REMOTE_CLIENTS, and an
// administrator who came by ssh shall not be. Programs of low integrity may not write to a pipe without a label.
func pipeRights(mode fs.FileMode, user Account, root bool) string {
	owner := string(user)
	switch {
	case user == system:
		owner = "SY"
	case root:
		owner = "BA"
	}
	out := "O:" + owner + "D:P(A;;GA;;;SY)(A;;GA;;;BA)"
	if !root {
		out += "(A;;GA;;;" + string(user) + ")"
	}
	if mode&0o006 == 0o006 {
		out += fmt.Sprintf("(A;;%#x;;;IU)", clientRights)
	}
	return out
}

// believes says why the process that made the pipe may not be who a dialer wants to speak to, or nil. Windows lets
// anybody take a name that is free; the owner of what was made there is not to be forged. The service's own pipe has to be
// SYSTEM's or the administrators', that of a file also may be the dialer's; a pipe that was named by hand may be anybody's.
func believes(name string, derived bool, owner, self Account) error {
	switch {
	case owner == system || owner == administrators, derived && owner == self && self != "":
		return nil
	case derived || strings.EqualFold(name, defaultPipe):
		return fmt.Errorf("%w: it belongs to %s", ErrImpostor, owner)
	}
	return nil
}

// defaultPipe is where the service listens on Windows.
const defaultPipe = pipePrefix + "adit"

// token is what Windows says about who runs a program.
type token struct {
	user    Account
	groups  []string // that count for rights: enabled, and not for refusals only
	session uint32   // 0: a service
}

// has says whether rights of a group are the program's.
func (t token) has(group string) bool {
	for _, g := range t.groups {
		if g == group {
			return true
		}
	}
	return false
}

// root says whether the program has all rights. An administrator's program without elevation has the group for
// refusals only.
func (t token) root() bool { return t.user == system || t.has(administrators) }

// person says whether somebody runs it who signed in: an account of this machine or of its domain (S-1-5-21), or of Entra
// ID (S-1-12-1), but not Guest (…-501).
func (t token) person() bool {
	u := string(t.user)
	ours := strings.HasPrefix(u, "S-1-5-21-") && !strings.HasSuffix(u, "-501") || strings.HasPrefix(u, "S-1-12-1-")
	return ours && t.has(interactive)
}

// atConsole says whether it runs in the session on the machine's own screen, of the number console.
func (t token) atConsole(console uint32) bool {
	return t.person() && t.session != 0 && t.session == console
}
