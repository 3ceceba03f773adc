//go:build gui

package main

import (
	"context"
	"os"
	"time"

	"github.com/godbus/dbus/v5"
)

// trayTime bounds the question to the session's bus.
const trayTime = 500 * time.Millisecond

// trayed asks whether something shows status icons (StatusNotifierItem, org.kde.StatusNotifierWatcher): GNOME
// does not by itself.
func trayed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), trayTime)
	defer cancel()
	bus, err := dbus.ConnectSessionBus(dbus.WithContext(ctx))
	if err != nil {
		return false
	}
	defer bus.Close()
	var there bool
	err = bus.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, "org.kde.StatusNotifierWatcher").Store(&there)
	return err == nil && there
}

// locales are the person's, the most wanted first (locale(7)).
func locales() []string {
	return []string{os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")}
}
