// Package bus connects to D-Bus and hears what changes there. Any local user may send signals to any connection, as many as
// the daemon carries: none of them costs more than the look at it, and nothing waits for whoever is told.
package bus

import (
	"context"
	"slices"

	"github.com/godbus/dbus/v5"
)

// Daemon is the bus itself. It alone signs its signals with that name, and with no number of a connection.
const Daemon = "org.freedesktop.DBus"

// Signal is one that says that something has changed.
type Signal struct {
	Sender            string // well-known name
	Path              dbus.ObjectPath
	Interface, Member string
	Arg0              string // empty: any
}

// Dial connects to the bus at address until ctx ends; empty: the system's. It hears no signals.
func Dial(ctx context.Context, address string) (*dbus.Conn, error) {
	return dial(ctx, address, &ear{})
}

// Listen is Dial for somebody who looks again when something has changed: hints has something in it after any of the
// wanted signals, once for all that came since it was read. What looks like a service's signal may be from anybody, so the
// look must trust none of it, and must not be repeated without a pause. The connection's Context ends with the bus; hints
// is never closed.
func Listen(ctx context.Context, address string, wanted ...Signal) (conn *dbus.Conn, hints <-chan struct{}, err error) {
	e := &ear{wanted: slices.Clone(wanted), hints: make(chan struct{}, 1)}
	if conn, err = dial(ctx, address, e); err != nil {
		return nil, nil, err
	}
	for _, s := range wanted {
		match := []dbus.MatchOption{dbus.WithMatchSender(s.Sender), dbus.WithMatchObjectPath(s.Path), dbus.WithMatchInterface(s.Interface), dbus.WithMatchMember(s.Member)}
		if s.Arg0 != "" {
			match = append(match, dbus.WithMatchArg(0, s.Arg0))
		}
		if err := conn.AddMatchSignalContext(ctx, match...); err != nil {
			conn.Close()
			return nil, nil, err
		}
	}
	return conn, e.hints, nil
}

func dial(ctx context.Context, address string, e *ear) (*dbus.Conn, error) {
	if address == "" {
		return dbus.ConnectSystemBus(dbus.WithContext(ctx), dbus.WithSignalHandler(e))
	}
	return dbus.Connect(address, dbus.WithContext(ctx), dbus.WithSignalHandler(e))
}

// ear stands in for godbus' own handler, which starts a goroutine for every signal that does not fit into a channel.
type ear struct {
	wanted []Signal
	hints  chan struct{}
}

// DeliverSignal is called by the connection, for one signal after another.
func (e *ear) DeliverSignal(iface, member string, signal *dbus.Signal) {
	for _, s := range e.wanted {
		if s.Interface != iface || s.Member != member || s.Path != signal.Path || s.Sender == Daemon && signal.Sender != Daemon {
			continue
		}
		if s.Arg0 != "" && (len(signal.Body) == 0 || signal.Body[0] != any(s.Arg0)) {
			continue
		}
		select {
		case e.hints <- struct{}{}:
		default:
		}
		return
	}
}
