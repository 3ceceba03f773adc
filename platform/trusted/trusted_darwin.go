package trusted

import "github.com/adit-vpn/adit/platform/acl"

// extended says what an access list beside the permission bits lets others do; they do not show it on macOS.
func extended(fd int) (fault string, err error) { return acl.FaultOf(fd) }
