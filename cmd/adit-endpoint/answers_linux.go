package main

import "github.com/adit-vpn/adit/platform/svc"

// answers tells systemd, where it has started this, that clients may come.
func answers() error { return svc.Ready() }
