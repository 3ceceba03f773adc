package sessions

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstPerson is the first account that is a person's, nobody one that is not.
const firstPerson, nobody = 501, 65534

// Watch calls changed, from its own goroutine, with who is signed in at the machine's screen, soon, and within two seconds when
// that is somebody else, until ctx ends (nil). Whoever is signed in behind another's screen, or over ssh, is not seen. The
// address is for other systems.
func Watch(ctx context.Context, _ string, changed func([]User)) error {
	return poll(ctx, look, changed)
}

// look asks who owns the console: root while nobody is signed in.
func look() ([]User, error) {
	var st unix.Stat_t
	if err := unix.Stat("/dev/console", &st); err != nil {
		return nil, &os.PathError{Op: "stat", Path: "/dev/console", Err: err}
	}
	if st.Uid == 0 {
		return nil, nil
	}
	return []User{{Account: strconv.FormatUint(uint64(st.Uid), 10), Person: st.Uid >= firstPerson && st.Uid != nobody}}, nil
}
