//go:build gui

package main

import "os"

// locales are the person's, the most wanted first (locale(7)).
func locales() []string {
	return []string{os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")}
}
