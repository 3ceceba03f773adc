//go:build !linux && !darwin

package main

import (
	"errors"

	"github.com/adit-vpn/adit/platform/token"
)

func load(string) (token.Module, error) {
	return nil, errors.New("PKCS#11 tokens are not supported on this system yet")
}
