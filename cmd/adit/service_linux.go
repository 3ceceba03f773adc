package main

import "github.com/adit-vpn/adit/installer/linux"

const (
	serviceName = linux.UnitName
	safePlace   = "/opt/adit"
)

// definition is the service's unit for a program.
func definition(program string) (string, error) { return linux.Unit(program) }
