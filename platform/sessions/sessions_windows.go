package sessions

import (
	"context"
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Watch calls changed, from its own goroutine, with the users who have a session, sorted by account and each once: soon, and
// within two seconds when they are others, until ctx ends (nil). Sessions that are locked or whose remote desktop is closed
// count. It needs SYSTEM's rights; without, it returns ErrNotSupported at once. The address is for other systems.
func Watch(ctx context.Context, _ string, changed func([]User)) error {
	return poll(ctx, look, changed)
}

func look() ([]User, error) {
	var (
		first *windows.WTS_SESSION_INFO
		n     uint32
	)
	if err := windows.WTSEnumerateSessions(0, 0, 1, &first, &n); err != nil {
		return nil, os.NewSyscallError("WTSEnumerateSessions", err)
	}
	defer windows.WTSFreeMemory(uintptr(unsafe.Pointer(first)))
	if n == 0 {
		return nil, errors.New("there are no sessions, not even that of services")
	}
	var out []User
	for _, s := range unsafe.Slice(first, n) {
		if s.State != windows.WTSActive && s.State != windows.WTSDisconnected {
			continue
		}
		var token windows.Token
		switch err := windows.WTSQueryUserToken(s.SessionID, &token); {
		case errors.Is(err, windows.ERROR_NO_TOKEN), errors.Is(err, windows.ERROR_FILE_NOT_FOUND): // nobody is signed in there, or it has ended
			continue
		case err != nil:
			return nil, os.NewSyscallError("WTSQueryUserToken", err)
		}
		user, err := token.GetTokenUser()
		token.Close()
		if err != nil {
			return nil, os.NewSyscallError("GetTokenInformation", err)
		}
		sid := user.User.Sid.String()
		out = append(out, User{Account: sid, Person: windowsPerson(sid)})
	}
	return out, nil
}
