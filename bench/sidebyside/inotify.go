//go:build linux

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// inotifyFile holds how many inotify instances one user may have (inotify(7)), usually 128. Every aditd and every wireguard-go of a
// crowd takes at least one, and where none is left wireguard-go ends and aditd looks at files instead of watching them: neither is what is measured.
const (
	inotifyFile = "/proc/sys/fs/inotify/max_user_instances"
	inotifyRoom = 16 // for each client
)

// makeRoom raises the limit for crowds of so many clients. The function it returns puts back what was there.
func makeRoom(peers int) (restore func() error, err error) {
	was, err := os.ReadFile(inotifyFile)
	if err != nil {
		return nil, err
	}
	has, err := strconv.Atoi(strings.TrimSpace(string(was)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", inotifyFile, err)
	}
	wanted := inotifyRoom * peers
	if has >= wanted {
		return func() error { return nil }, nil
	}
	set := func(n int) error { return os.WriteFile(inotifyFile, strconv.AppendInt(nil, int64(n), 10), 0o644) }
	if err := set(wanted); err != nil {
		return nil, fmt.Errorf("room for %d clients: %w", peers, err)
	}
	return func() error { return set(has) }, nil
}
