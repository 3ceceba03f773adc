package main

import "github.com/adit-vpn/adit/installer/darwin"

const (
	serviceName = darwin.Label
	safePlace   = darwin.Programs
)

// definition is the daemon's property list for a program.
func definition(program string) (string, error) { return string(darwin.LaunchDaemon(program)), nil }
