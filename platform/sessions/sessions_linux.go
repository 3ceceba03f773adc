package sessions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/platform/bus"
)

// logind on the bus: org.freedesktop.login1(5).
const (
	logindName    = "org.freedesktop.login1"
	logindPath    = dbus.ObjectPath("/org/freedesktop/login1")
	logindManager = logindName + ".Manager"
	logindSession = logindName + ".Session"
)

const (
	maxSessions = 1000
	callTime    = 5 * time.Second // for one look
	// lull is at least between two looks: anybody can make a signal that seems to be logind's.
	lull = time.Second
	// Pauses before the bus is tried again.
	again, againMost = 2 * time.Second, time.Minute
	// firstPerson and nobody bound the accounts that are people's (login.defs(5), UID_MIN).
	firstPerson, nobody = 1000, 65534
)

// Watch calls changed, from its own goroutine, with the users who have a session, sorted by account and each once: soon, and
// whenever they are others, until ctx ends (nil). It asks logind over the bus at address; empty: the system's. Without
// logind it returns ErrNotSupported at once.
func Watch(ctx context.Context, address string, changed func([]User)) error {
	conn, hints, err := listen(ctx, address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	defer func() { conn.Close() }()
	if !offers(ctx, conn) {
		return fmt.Errorf("%w: there is no logind", ErrNotSupported)
	}
	var last []User
	told := false
	tell := func(now []User) {
		if told && slices.Equal(now, last) {
			return
		}
		told, last = true, now
		changed(now)
	}
	for pause := again; ; pause = min(2*pause, againMost) {
		if follow(ctx, conn, hints, func(now []User) { pause = again; tell(now) }); ctx.Err() != nil {
			return nil
		}
		for {
			conn.Close()
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(pause):
			}
			next, more, err := listen(ctx, address)
			if err == nil {
				conn, hints = next, more
				break
			}
			pause = min(2*pause, againMost)
		}
	}
}

func listen(ctx context.Context, address string) (*dbus.Conn, <-chan struct{}, error) {
	manager := bus.Signal{Sender: logindName, Path: logindPath, Interface: logindManager}
	come, gone := manager, manager
	come.Member, gone.Member = "SessionNew", "SessionRemoved"
	return bus.Listen(ctx, address, come, gone)
}

// offers reports whether logind is there, or comes when it is asked.
func offers(ctx context.Context, conn *dbus.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	for _, method := range []string{"ListNames", "ListActivatableNames"} {
		var names []string
		if conn.BusObject().CallWithContext(ctx, bus.Daemon+"."+method, 0).Store(&names) == nil && slices.Contains(names, logindName) {
			return true
		}
	}
	return false
}

// follow tells who is there, now and at each change, until the bus or logind fails or ctx ends.
func follow(ctx context.Context, conn *dbus.Conn, hints <-chan struct{}, tell func([]User)) error {
	for {
		users, err := list(ctx, conn)
		if err != nil {
			return err
		}
		tell(users)
		select {
		case <-conn.Context().Done():
			return errors.New("the bus is gone")
		case <-time.After(lull):
		}
		select {
		case <-conn.Context().Done(): // ends with ctx, too
			return errors.New("the bus is gone")
		case <-hints:
		}
	}
}

// list asks who has a session now.
func list(ctx context.Context, conn *dbus.Conn) ([]User, error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	var sessions []struct {
		ID   string
		UID  uint32
		User string
		Seat string
		Path dbus.ObjectPath
	}
	if err := conn.Object(logindName, logindPath).CallWithContext(ctx, logindManager+".ListSessions", 0).Store(&sessions); err != nil {
		return nil, fmt.Errorf("logind: %w", err)
	}
	users := []User{}
	for _, s := range sessions[:min(len(sessions), maxSessions)] {
		u := User{Account: strconv.FormatUint(uint64(s.UID), 10), Person: s.UID >= firstPerson && s.UID != nobody}
		if slices.Contains(users, u) {
			continue
		}
		var all map[string]dbus.Variant
		if err := conn.Object(logindName, s.Path).CallWithContext(ctx, bus.Daemon+".Properties.GetAll", 0, logindSession).Store(&all); err != nil {
			if ctx.Err() != nil {
				return nil, err
			}
			continue // it has ended meanwhile
		}
		class, _ := all["Class"].Value().(string)
		state, _ := all["State"].Value().(string)
		// Not the sign-in screen, the lock screen or a timer's; and not one whose user has left.
		if strings.HasPrefix(class, "user") && state != "closing" {
			users = append(users, u)
		}
	}
	slices.SortFunc(users, func(a, b User) int { return strings.Compare(a.Account, b.Account) })
	return users, nil
}
