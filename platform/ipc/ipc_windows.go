package ipc

import (
	"context"
	"net"
	"os"
)

// DefaultPath is where the service listens.
const DefaultPath = `\\.\pipe\adit`

// StartCommand tells a person how to start the service.
const StartCommand = "the service is not supported yet on Windows; adit connect FILE --userspace needs none"

func listen(string, os.FileMode) (net.Listener, error) { return nil, ErrNotSupported }

func dial(context.Context, string) (net.Conn, error) { return nil, ErrNotSupported }

func peerOf(net.Conn) (Peer, error) { return Peer{}, ErrNotSupported }
