package svc

import (
	"net"
	"os"
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
