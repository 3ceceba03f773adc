package main

import "github.com/adit-vpn/adit/platform/svc"

const (
	serviceName = svc.Name
	safePlace   = `C:\Program Files\Adit`
)

// definition is nothing: Windows' services have no file.
func definition(string) (string, error) { return "", nil }
