package main

import (
	"github.com/adit-vpn/adit/installer/darwin"
	"github.com/adit-vpn/adit/platform/svc/manage"
)

// safePlace is where programs may lie that root runs.
const safePlace = darwin.Programs

// managed is the service, for launchd.
var managed = manage.Service{
	Name: darwin.Label, Restart: darwin.Restart, Logs: darwin.Logs(),
	Definition: func(program string) (string, error) { return string(darwin.LaunchDaemon(program)), nil },
}
