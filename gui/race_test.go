//go:build race

package gui

// racing says that the race detector is at work.
const racing = true
