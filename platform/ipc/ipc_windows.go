package ipc

import (
	"context"
	"net"
	"os"
)

// DefaultPath is where the service listens.
const DefaultPath = `\\.\pipe\adit`

// StartCommand tells a person how to start the service: there is none yet.
const StartCommand = ""

func listen(string, os.FileMode) (net.Listener, error) { return nil, ErrNotSupported }

func dial(context.Context, string) (net.Conn, error) { return nil, ErrNotSupported }

func peerOf(net.Conn) (Peer, error) { return Peer{}, ErrNotSupported }
