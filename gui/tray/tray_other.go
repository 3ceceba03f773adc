//go:build !linux

package tray

// These systems always have a tray.
func session() bool { return true }

// There says whether the desktop shows icons in a tray at the moment.
func There() bool { return true }
