//go:build gui && !linux

package main

import "fyne.io/fyne/v2/lang"

// locales are the person's.
func locales() []string { return []string{lang.SystemLocale().String()} }
