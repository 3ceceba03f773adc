package main

import (
	"testing"

	"github.com/adit-vpn/adit/cmd/starttest"
)

// TestStart: regular expressions with counts in them were a fifth of adit connect's start.
func TestStart(t *testing.T) { starttest.Cheap(t) }
