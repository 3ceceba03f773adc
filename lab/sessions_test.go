//go:build linux

package lab

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/client/api"
)

// logind says on the client's bus who has a session, in the words of org.freedesktop.login1(5): the real one needs systemd.
type logind struct{ uids chan []uint32 }

type logindSession struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}

// ListSessions implements org.freedesktop.login1.Manager.
func (l logind) ListSessions() ([]logindSession, *dbus.Error) {
	uids := <-l.uids
	l.uids <- uids
	var out []logindSession
	for _, u := range uids {
		out = append(out, logindSession{"1", u, "somebody", "seat0", "/org/freedesktop/login1/session/_31"})
	}
	return out, nil
}

// GetAll implements org.freedesktop.DBus.Properties for every session.
func (logind) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	return map[string]dbus.Variant{"Class": dbus.MakeVariant("user"), "State": dbus.MakeVariant("active")}, nil
}

// TestAutoConnectAtSignIn: the policy's profile waits for a person's session, and connects when it begins.
func TestAutoConnectAtSignIn(t *testing.T) {
	t.Parallel()
	needs(t, "dbus-daemon")
	s := newSite(t)
	p := newPKI(t)
	s.endpointUp(s.yaml(p, "", endpointConfig{Rules: vpcRules()}))
	var bus net.Conn
	s.ok(s.client.Do(func() error {
		return errors.Join(os.MkdirAll("/run/dbus", 0o755), os.MkdirAll("/etc/adit/profiles", 0o755),
			os.WriteFile("/etc/adit/profiles/corp.ovpn", []byte(clientProfile(p, "udp", "plain", "")), 0o644),
			os.WriteFile("/etc/adit/policy.json", []byte(`{"AutoConnect": "corp"}`), 0o644))
	}))
	s.bus(s.client)
	s.ok(s.client.Do(func() (err error) {
		bus, err = net.Dial("unix", "/run/dbus/system_bus_socket")
		return err
	}))
	conn, err := dbus.NewConn(bus)
	s.ok(err)
	t.Cleanup(func() { conn.Close() })
	s.ok(conn.Auth(nil))
	s.ok(conn.Hello())
	l := logind{make(chan []uint32, 1)}
	l.uids <- []uint32{0}
	const manager = "/org/freedesktop/login1"
	s.ok(conn.Export(l, manager, "org.freedesktop.login1.Manager"))
	s.ok(conn.Export(l, manager+"/session/_31", "org.freedesktop.DBus.Properties"))
	_, err = conn.RequestName("org.freedesktop.login1", 0)
	s.ok(err)

	s.aditd()
	time.Sleep(3 * time.Second)
	if out := s.adit("status"); !strings.Contains(out, "no tunnels") {
		t.Errorf("before a person is there: %s", out)
	}
	<-l.uids
	l.uids <- []uint32{0, 1000}
	s.ok(conn.Emit(manager, "org.freedesktop.login1.Manager.SessionNew", "1", dbus.ObjectPath(manager+"/session/_31")))
	s.until(soon, "it connects", func() bool { return s.statusOf("corp").State == api.Connected })
	s.reaches(s.client, none, hostAddr)
}
