//go:build gui && !windows

package main

// show has nothing to do: what the app writes arrives, in a terminal or in the session's log.
func show(error) {}
