package bus

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// daemon starts a dbus-daemon of the test's own and returns its address, and what ends it.
func daemon(t *testing.T) (address string, end func()) {
	t.Helper()
	path, err := exec.LookPath("dbus-daemon")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("no dbus-daemon")
	}
	dir := t.TempDir()
	address = "unix:path=" + filepath.Join(dir, "bus")
	conf := filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(conf, []byte(`<busconfig><type>custom</type><listen>`+address+`</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="false"/><allow receive_sender="*"/><allow own="*"/><allow user="*"/></policy></busconfig>`), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--config-file="+conf, "--nofork", "--nopidfile", "--print-address")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = out.Read(make([]byte, 1)) // it listens once it prints
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			cmd.Process.Kill()
			cmd.Wait()
		}
	}
	t.Cleanup(end)
	return address, end
}

// unicast is a signal to one connection alone, for which that needs no match.
func unicast(to string, path dbus.ObjectPath, iface, member string, body ...any) *dbus.Message {
	m := &dbus.Message{Type: dbus.TypeSignal, Body: body, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(to), dbus.FieldPath: dbus.MakeVariant(path),
		dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
	}}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	return m
}

// TestListenFlooded: strangers' signals cost nothing that lasts, those in the daemon's name are not believed, and a true
// change is still heard.
func TestListenFlooded(t *testing.T) {
	address, end := daemon(t)
	const service, path, iface = "org.example.Service", dbus.ObjectPath("/org/example"), "org.example.Manager"
	conn, hints, err := Listen(t.Context(), address,
		Signal{Sender: service, Path: path, Interface: iface, Member: "Changed"},
		Signal{Sender: Daemon, Path: "/org/freedesktop/DBus", Interface: Daemon, Member: "NameOwnerChanged", Arg0: service})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	quiet, err := Dial(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer quiet.Close()
	other, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	// all returns once the daemon has brought everything that was sent.
	all := func() {
		t.Helper()
		for _, c := range []*dbus.Conn{other, conn, quiet} {
			var id string
			if err := c.BusObject().Call(Daemon+".GetId", 0).Store(&id); err != nil {
				t.Fatal(err)
			}
		}
	}
	heard := func() bool {
		select {
		case <-hints:
			return true
		default:
			return false
		}
	}
	all()
	before := runtime.NumGoroutine()
	me := conn.Names()[0]
	for range 2000 {
		other.Send(unicast(me, path, iface, "Else"), nil)
		other.Send(unicast(me, "/elsewhere", iface, "Changed"), nil)
		other.Send(unicast(me, path, "org.example.Else", "Changed"), nil)
		other.Send(unicast(quiet.Names()[0], path, iface, "Changed"), nil)
		other.Send(unicast(me, "/org/freedesktop/DBus", Daemon, "NameOwnerChanged", service, "", ":1.1"), nil)
	}
	all()
	if heard() {
		t.Error("a stranger's other signal is heard")
	}
	for range 5000 {
		other.Send(unicast(me, path, iface, "Changed"), nil) // as the service's own: who sends it cannot be told
	}
	all()
	if now := runtime.NumGoroutine(); now > before+10 {
		t.Errorf("%d goroutines, before the flood %d", now, before)
	}
	if !heard() || heard() {
		t.Error("5000 signals are not one hint")
	}
	if _, err := other.RequestName(service, 0); err != nil {
		t.Fatal(err)
	}
	all()
	if !heard() {
		t.Error("the daemon's own signal is not heard")
	}
	if err := other.Emit(path, iface+".Changed"); err != nil {
		t.Fatal(err)
	}
	all()
	if !heard() {
		t.Error("a change is not heard")
	}
	end()
	select {
	case <-conn.Context().Done():
	case <-time.After(20 * time.Second):
		t.Error("nothing says that the bus is gone")
	}
}

func TestNoBus(t *testing.T) {
	none := "unix:path=" + filepath.Join(t.TempDir(), "none")
	if _, err := Dial(t.Context(), none); err == nil {
		t.Error("Dial")
	}
	if _, _, err := Listen(t.Context(), none); err == nil {
		t.Error("Listen")
	}
	address, _ := daemon(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Listen(over, address, Signal{Sender: Daemon, Path: "/", Interface: Daemon, Member: "NameOwnerChanged"}); err == nil {
		t.Error("Listen after its end")
	}
}
