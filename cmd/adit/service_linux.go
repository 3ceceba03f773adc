package main

import (
	"github.com/adit-vpn/adit/installer/linux"
	"github.com/adit-vpn/adit/platform/svc/manage"
)

// safePlace is where programs may lie that root runs.
const safePlace = "/opt/adit"

// managed is the service, for systemd.
var managed = manage.Service{Name: linux.UnitName, Definition: linux.Unit}
