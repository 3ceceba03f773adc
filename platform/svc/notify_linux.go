package svc

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/platform/bus"
)

// Ready tells systemd that the service answers, where systemd wants to know (sd_notify(3)); elsewhere it does nothing.
func Ready() error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	// Package net takes a leading @ for the abstract names of unix(7), as systemd means it.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write([]byte("READY=1"))
	return err
}

// Restarting says, of a service that is told to end, whether systemd will start it again at once ("systemctl restart", as packages
// do after an upgrade). Where nobody can tell, it will not.
func Restarting(ctx context.Context) bool {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := bus.Dial(ctx, "")
	if err != nil {
		return false
	}
	defer conn.Close()
	const systemd = "org.freedesktop.systemd1"
	property := func(of dbus.ObjectPath, kind, name string) (value dbus.Variant) {
		_ = conn.Object(systemd, of).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", 0, systemd+"."+kind, name).Store(&value)
		return value
	}
	var unit dbus.ObjectPath
	if conn.Object(systemd, "/org/freedesktop/systemd1").CallWithContext(ctx, systemd+".Manager.GetUnitByPID", 0, uint32(os.Getpid())).Store(&unit) != nil {
		return false
	}
	job, _ := property(unit, "Unit", "Job").Value().([]any) // its number, 0 for none, and path
	if len(job) != 2 {
		return false
	}
	path, _ := job[1].(dbus.ObjectPath)
	return property(path, "Job", "JobType").Value() == any("restart")
}
