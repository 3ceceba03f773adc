//go:build !linux

package secrets

// reachable: on these systems every session has a keychain.
func reachable() error { return nil }
