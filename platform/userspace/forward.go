package userspace

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Forward is one port forward: what connects to Local here reaches Remote through
// the tunnel. Both are HOST:PORT.
type Forward struct{ Local, Remote string }

// String is the form that ParseForward reads.
func (f Forward) String() string { return f.Local + "=" + f.Remote }

// ParseForward reads LADDR=RADDR. LADDR is ADDRESS:PORT, localhost:PORT or only
// a PORT of 127.0.0.1; port 0 lets the system choose. RADDR is HOST:PORT, where
// HOST may be a name.
func ParseForward(text string) (Forward, error) {
	local, remote, ok := strings.Cut(text, "=")
	if !ok {
		return Forward{}, fmt.Errorf("bad forward %q: want LADDR=RADDR, such as 127.0.0.1:8080=10.0.0.5:80", text)
	}
	if _, err := strconv.Atoi(local); err == nil {
		local = net.JoinHostPort("127.0.0.1", local)
	}
	host, port, err := net.SplitHostPort(local)
	if err != nil {
		return Forward{}, fmt.Errorf("bad forward %q: local side %q: want ADDRESS:PORT or PORT", text, local)
	}
	localPort, err := parsePort(port, true)
	if err != nil {
		return Forward{}, fmt.Errorf("bad forward %q: local side: %w", text, err)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	} else if !strings.EqualFold(host, "localhost") {
		return Forward{}, fmt.Errorf("bad forward %q: local side: %q is not an address; use 127.0.0.1", text, host)
	}
	target, port, err := net.SplitHostPort(remote)
	if err != nil {
		return Forward{}, fmt.Errorf("bad forward %q: remote side %q: want HOST:PORT, [ADDRESS]:PORT for IPv6", text, remote)
	}
	remotePort, err := parsePort(port, false)
	if err != nil {
		return Forward{}, fmt.Errorf("bad forward %q: remote side: %w", text, err)
	}
	if addr, err := netip.ParseAddr(target); err == nil {
		target = addr.String()
	} else if !isHostName(target) {
		return Forward{}, fmt.Errorf("bad forward %q: remote side: %q is neither an address nor a host name", text, target)
	}
	return Forward{net.JoinHostPort(host, localPort), net.JoinHostPort(target, remotePort)}, nil
}

// parsePort checks a decimal port and returns it in its shortest form.
func parsePort(text string, zero bool) (string, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 && !zero {
		return "", fmt.Errorf("bad port %q", text)
	}
	return strconv.FormatUint(n, 10), nil
}

// isHostName is the shape of RFC 1123 §2.1, with the underscore that is seen in use.
func isHostName(name string) bool {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range []byte(label) {
			if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// Forwarder is the front of one port forward (TCP).
type Forwarder struct {
	host   *Host
	log    *slog.Logger
	remote string
}

// NewForwarder connects whatever it serves to remote (HOST:PORT) through host.
func NewForwarder(host *Host, log *slog.Logger, remote string) *Forwarder {
	return &Forwarder{host: host, log: log, remote: remote}
}

// Serve takes connections until ctx ends, and then returns nil with none left.
func (f *Forwarder) Serve(ctx context.Context, listener net.Listener) error {
	return serve(ctx, listener, func(ctx context.Context, conn net.Conn) {
		dialing, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		far, err := f.host.DialContext(dialing, "tcp", f.remote)
		if err != nil {
			f.log.Info("forward failed", "to", f.remote, "error", err)
			return
		}
		relay(ctx, conn, far)
	})
}
