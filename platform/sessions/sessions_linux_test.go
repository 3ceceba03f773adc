package sessions

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	end = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
	t.Cleanup(end)
	return address, end
}

// logind has the words of org.freedesktop.login1(5) that Watch uses.
type logind struct {
	conn *dbus.Conn

	mu       sync.Mutex
	sessions []session
	asked    int
}

type session struct {
	ID, User, Seat string
	UID            uint32
	class, state   string
}

func (s session) path() dbus.ObjectPath { return logindPath + dbus.ObjectPath("/session/"+s.ID) }

func (l *logind) ListSessions() ([]struct {
	ID   string
	UID  uint32
	User string
	Seat string
	Path dbus.ObjectPath
}, *dbus.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	var out []struct {
		ID   string
		UID  uint32
		User string
		Seat string
		Path dbus.ObjectPath
	}
	for _, s := range l.sessions {
		out = append(out, struct {
			ID   string
			UID  uint32
			User string
			Seat string
			Path dbus.ObjectPath
		}{s.ID, s.UID, s.User, s.Seat, s.path()})
	}
	return out, nil
}

// GetAll is a session's.
func (s session) GetAll(string) (map[string]dbus.Variant, *dbus.Error) {
	return map[string]dbus.Variant{"Class": dbus.MakeVariant(s.class), "State": dbus.MakeVariant(s.state)}, nil
}

// runLogind puts logind on the bus.
func runLogind(t *testing.T, address string) *logind {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &logind{conn: conn}
	if err := conn.Export(l, logindPath, logindManager); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(logindName, 0); err != nil {
		t.Fatal(err)
	}
	return l
}

// have makes these the sessions, and says so by the signal.
func (l *logind) have(t *testing.T, signal string, sessions ...session) {
	t.Helper()
	for _, s := range sessions {
		if err := l.conn.Export(s, s.path(), "org.freedesktop.DBus.Properties"); err != nil {
			t.Fatal(err)
		}
	}
	l.mu.Lock()
	l.sessions = sessions
	l.mu.Unlock()
	if err := l.conn.Emit(logindPath, logindManager+"."+signal, "x", logindPath+"/session/x"); err != nil {
		t.Fatal(err)
	}
}

func of(id string, uid uint32, class string) session {
	return session{ID: id, UID: uid, User: "u" + strconv.Itoa(int(uid)), class: class, state: "active"}
}

func TestWatch(t *testing.T) {
	address, end := daemon(t)
	l := runLogind(t, address)
	l.have(t, "SessionNew", of("c1", 120, "greeter"))
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan []User, 10)
	done := make(chan error, 1)
	go func() { done <- Watch(ctx, address, func(u []User) { seen <- u }) }()
	next := func(what string, want ...User) {
		t.Helper()
		select {
		case got := <-seen:
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: nothing is said", what)
		}
	}
	next("the sign-in screen alone")
	ann, root := User{"1000", true}, User{"0", false}
	l.have(t, "SessionNew", of("c1", 120, "greeter"), of("1", 1000, "user"), of("2", 0, "user"))
	next("two came", root, ann)
	l.have(t, "SessionNew", of("1", 1000, "user"), of("2", 0, "user"), of("3", 1000, "user"), of("4", 1001, "background"))
	left := of("1", 1000, "user")
	left.state = "closing"
	l.have(t, "SessionRemoved", left, of("2", 0, "user"))
	next("one left", root)

	// It ends with its context also while there is no bus.
	end()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	select {
	case u := <-seen:
		t.Errorf("more is said: %v", u)
	default:
	}
}

// TestWatchFlooded: any local user can send signals to the service alone that look like logind's, and others. They cost no
// goroutines and few questions, and who comes meanwhile is seen.
func TestWatchFlooded(t *testing.T) {
	address, _ := daemon(t)
	l := runLogind(t, address)
	l.have(t, "SessionNew", of("1", 1000, "user"))
	other, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan []User, 10)
	done := make(chan error, 1)
	begin := time.Now()
	go func() { done <- Watch(ctx, address, func(u []User) { seen <- u }) }()
	next := func(want ...User) {
		t.Helper()
		select {
		case got := <-seen:
			if !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("nothing is said")
		}
	}
	next(User{"1000", true})
	var names []string
	if err := other.BusObject().Call("org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	for range 10000 {
		for _, name := range names {
			if !strings.HasPrefix(name, ":") || name == other.Names()[0] || slices.Contains(l.conn.Names(), name) {
				continue
			}
			for _, member := range []string{"SessionNew", "Else"} {
				other.Send(&dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
					dbus.FieldDestination: dbus.MakeVariant(name), dbus.FieldPath: dbus.MakeVariant(logindPath),
					dbus.FieldInterface: dbus.MakeVariant(logindManager), dbus.FieldMember: dbus.MakeVariant(member),
				}}, nil)
			}
		}
	}
	if err := other.BusObject().Call("org.freedesktop.DBus.GetId", 0).Err; err != nil { // the daemon has sent them on
		t.Fatal(err)
	}
	if now := runtime.NumGoroutine(); now > before+20 {
		t.Errorf("%d goroutines, before the flood %d", now, before)
	}
	l.have(t, "SessionNew", of("1", 1000, "user"), of("2", 1001, "user"))
	next(User{"1000", true}, User{"1001", true})
	l.mu.Lock()
	if most := 2 + int(time.Since(begin)/lull); l.asked > most {
		t.Errorf("logind is asked %d times, at most %d are right", l.asked, most)
	}
	l.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWatchWithoutLogind(t *testing.T) {
	address, _ := daemon(t)
	for _, at := range []string{address, "unix:path=" + filepath.Join(t.TempDir(), "none")} {
		err := Watch(t.Context(), at, func([]User) { t.Error("it says something") })
		if !errors.Is(err, ErrNotSupported) {
			t.Errorf("%s: %v", at, err)
		}
	}
}
