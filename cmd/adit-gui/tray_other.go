//go:build gui && !linux

package main

import "fyne.io/fyne/v2/lang"

// trayed: these systems always have one.
func trayed() bool { return true }

// locales are the person's.
func locales() []string { return []string{lang.SystemLocale().String()} }
