//go:build linux || darwin

package main

import (
	"github.com/adit-vpn/adit/platform/token"
	"github.com/adit-vpn/adit/platform/token/pkcs11"
)

func load(path string) (token.Module, error) { return pkcs11.Load(path) }
