package wfp

import (
	"errors"
	"fmt"
)

// code is what a function of the filtering engine returns when it fails (winerror.h).
type code uint32

const (
	errNoProvider code = 0x80320005 // FWP_E_PROVIDER_NOT_FOUND
	errExists     code = 0x80320009 // FWP_E_ALREADY_EXISTS
	errAborted    code = 0x8032000f // FWP_E_TXN_ABORTED
	errEnded      code = 0x80320010 // FWP_E_SESSION_ABORTED
	errTimeout    code = 0x80320012 // FWP_E_TIMEOUT
	errDenied     code = 5          // ERROR_ACCESS_DENIED
	errNoServer   code = 1722       // RPC_S_SERVER_UNAVAILABLE
	errNoEndpoint code = 1753       // EPT_S_NOT_REGISTERED
	errNoSupport  code = 1764       // RPC_S_CANNOT_SUPPORT: there is no engine at all, as in wine
)

// errBusy stands for all codes after which trying again may help, errStopped for those of an engine whose service does not run.
// errDisabled is an engine that takes rules and does not follow them.
var (
	errBusy     = errors.New("another program changes the rules")
	errStopped  = errors.New("the Base Filtering Engine does not run")
	errDisabled = errors.New("the rules are disabled: set Adit's service to start automatically, and restart Windows")
)

func (c code) Error() string {
	switch c {
	case errDenied:
		return "access denied: it needs an administrator"
	case errNoServer, errNoEndpoint, errNoSupport:
		return "the Base Filtering Engine does not run: start the service BFE"
	case errTimeout, errAborted, errEnded:
		return "another program holds its rules for too long; try again"
	}
	return fmt.Sprintf("error %#x", uint32(c))
}

func (c code) Is(target error) bool {
	switch c {
	case errTimeout, errAborted, errEnded:
		return target == errBusy
	case errNoServer, errNoEndpoint, errNoSupport:
		return target == errStopped
	}
	return false
}
