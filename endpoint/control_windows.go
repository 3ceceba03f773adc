package endpoint

import "net"

// listenPrivate opens a unix socket (Windows 10 and later). The data directory's
// access list protects it.
func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
