package logfile

import "golang.org/x/sys/unix"

// become makes a descriptor the open file of another one.
func become(fd, other int) error { return unix.Dup2(other, fd) }
