//go:build !linux

package udp

import "testing"

func portableOf(c Conn) Conn { return c }

func variants() map[string]func(testing.TB, Conn) Conn { return nil }
