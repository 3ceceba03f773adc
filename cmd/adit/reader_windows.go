package main

import (
	"errors"

	"golang.org/x/sys/windows"
)

// readerLeft says whether nobody reads any more what was written.
func readerLeft(err error) bool {
	return errors.Is(err, windows.ERROR_NO_DATA) || errors.Is(err, windows.ERROR_BROKEN_PIPE)
}
