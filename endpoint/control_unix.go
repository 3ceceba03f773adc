//go:build unix

package endpoint

import (
	"net"

	"github.com/adit-vpn/adit/platform/ipc"
)

// listenPrivate opens a unix socket that only its owner may connect to.
func listenPrivate(path string) (net.Listener, error) { return ipc.Listen(path, 0o600) }
