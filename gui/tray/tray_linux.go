package tray

import (
	"context"
	"time"

	"github.com/godbus/dbus/v5"
)

// busTime bounds a question to the session's bus.
const busTime = 500 * time.Millisecond

// bus connects to the session's; the caller closes it.
func bus(ctx context.Context) (*dbus.Conn, error) {
	return dbus.ConnectSessionBus(dbus.WithContext(ctx))
}

// session says whether there can be a tray, now or later.
func session() bool {
	ctx, cancel := context.WithTimeout(context.Background(), busTime)
	defer cancel()
	c, err := bus(ctx)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// There asks whether something shows status icons at the moment (StatusNotifierItem, org.kde.StatusNotifierWatcher):
// GNOME does not by itself. It takes half a second at most.
func There() bool {
	ctx, cancel := context.WithTimeout(context.Background(), busTime)
	defer cancel()
	c, err := bus(ctx)
	if err != nil {
		return false
	}
	defer c.Close()
	var there bool
	err = c.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, "org.kde.StatusNotifierWatcher").Store(&there)
	return err == nil && there
}
