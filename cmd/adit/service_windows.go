package main

import (
	"github.com/adit-vpn/adit/platform/svc"
	"github.com/adit-vpn/adit/platform/svc/manage"
)

// safePlace is where programs may lie that root runs.
const safePlace = `C:\Program Files\Adit`

// managed is the service, for the service control manager.
var managed = manage.Service{Name: svc.Name}
