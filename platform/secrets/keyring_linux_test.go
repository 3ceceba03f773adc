package secrets

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

// onBus is set in the processes that TestRealKeyring starts on buses of their own.
const onBus = "ADIT_TEST_KEYRING"

// TestRealKeyring runs the cases below with GNOME Keyring on session buses of their own, which end with
// the case.
func TestRealKeyring(t *testing.T) {
	if os.Getenv(onBus) != "" {
		t.Skip("this is the inner process")
	}
	for _, program := range []string{"dbus-run-session", "gnome-keyring-daemon"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skipf("left out: needs %s", program)
		}
	}
	const (
		unlocked = `printf %s "$KEYRING_PASSWORD" | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 &
keyring=$!; "$@"; rc=$?; kill $keyring; wait $keyring; exit $rc`
		plain = `exec "$@"`
	)
	home, err := os.MkdirTemp("", "keyring") // short: sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(home)
	// No bus starts a keyring by itself.
	config := filepath.Join(home, "bus.conf")
	if err := os.WriteFile(config, []byte(`<busconfig><type>session</type><listen>unix:dir=`+home+`</listen>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ test, script, password string }{
		{"TestInnerRoundTrip", unlocked, "one"},
		{"TestInnerPersists", unlocked, "one"},
		{"TestInnerLocked", unlocked, "another"},
		{"TestInnerSilent", plain, ""},
		{"TestInnerNoService", plain, ""},
		{"TestInnerNoService", `unset DBUS_SESSION_BUS_ADDRESS; exec "$@"`, ""},
	} {
		t.Run(c.test, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			run, err := os.MkdirTemp(home, "run") // with the keyring's control socket
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(ctx, "dbus-run-session", "--config-file="+config, "--", "sh", "-c", c.script, "sh", os.Args[0], "-test.run=^"+c.test+"$", "-test.v", "-test.count=1")
			cmd.WaitDelay = 5 * time.Second
			cmd.Env = append(os.Environ(), onBus+"=1", "KEYRING_PASSWORD="+c.password, "HOME="+home, "XDG_DATA_HOME="+home, "XDG_RUNTIME_DIR="+run,
				"XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CURRENT_DESKTOP=", "DISPLAY=", "WAYLAND_DISPLAY=")
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "--- PASS: "+c.test) {
				t.Fatalf("%v\n%s", err, out)
			}
		})
	}
}

func inner(t *testing.T) (context.Context, Keychain) {
	t.Helper()
	if os.Getenv(onBus) == "" {
		t.Skip("runs in TestRealKeyring")
	}
	return t.Context(), Keychain{Wait: 20 * time.Second}
}

// awaitKeyring returns when a keychain is on the bus.
func awaitKeyring(t *testing.T) {
	t.Helper()
	conn, err := dbus.ConnectSessionBus()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 300 {
		var there bool
		if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&there); err != nil {
			t.Fatal(err)
		}
		if there {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("no keyring came")
}

func TestInnerRoundTrip(t *testing.T) {
	ctx, k := inner(t)
	awaitKeyring(t)
	none := func(profile, user string) {
		t.Helper()
		if l, err := k.Get(ctx, profile, user); !errors.Is(err, ErrNotFound) {
			t.Fatalf("%s, %q: got user %q, %v", profile, user, l.User, err)
		}
	}
	set := func(profile string, l Login) {
		t.Helper()
		if err := k.Set(ctx, profile, l); err != nil {
			t.Fatal(err)
		}
	}
	get := func(profile, user string, want Login) {
		t.Helper()
		if got, err := k.Get(ctx, profile, user); err != nil || got != want {
			t.Fatalf("%s, %q: got user %q, %v", profile, user, got.User, err)
		}
	}
	none("work", "alice")
	none("work", "")
	alice, bob, odd := Login{"alice", "pass wörd\n:"}, Login{"bob", "b"}, Login{"o:dd", "x"}
	set("work", alice)
	set("work:2", odd)
	get("work", "alice", alice)
	get("work", "", alice)
	none("work", "bob")
	none("home", "alice")
	set("work", bob)
	get("work", "", bob)
	get("work", "alice", alice)
	alice.Password = "new"
	set("work", alice)
	get("work", "alice", alice)
	if err := k.Forget(ctx, "work", "alice"); err != nil {
		t.Fatal(err)
	}
	none("work", "alice")
	get("work", "bob", bob)
	if err := errors.Join(k.Forget(ctx, "work", "alice"), k.ForgetAll(ctx, "work"), k.ForgetAll(ctx, "work")); err != nil {
		t.Fatal(err)
	}
	none("work", "bob")
	none("work", "")
	get("work:2", "o:dd", odd)
}

func TestInnerPersists(t *testing.T) {
	ctx, k := inner(t)
	awaitKeyring(t)
	if l, err := k.Get(ctx, "work:2", ""); err != nil || l != (Login{"o:dd", "x"}) {
		t.Fatalf("got user %q, %v", l.User, err)
	}
}

// TestInnerLocked: the keyring is locked, and no desktop is there that could ask for its password.
func TestInnerLocked(t *testing.T) {
	ctx, k := inner(t)
	awaitKeyring(t)
	for _, err := range []error{
		func() error { _, err := k.Get(ctx, "work:2", "o:dd"); return err }(),
		k.Set(ctx, "work:2", Login{"o:dd", "y"}),
		k.ForgetAll(ctx, "work:2"),
	} {
		if err == nil || errors.Is(err, ErrNotFound) || !errors.Is(err, ErrLocked) {
			t.Errorf("got %v", err)
		}
	}
}

// TestInnerSilent: a keychain that never answers, as while it waits for a person, holds nobody up.
func TestInnerSilent(t *testing.T) {
	ctx, k := inner(t)
	conn, err := dbus.ConnectSessionBus()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stop := make(chan struct{})
	defer close(stop)
	if err := conn.Export(silent{stop}, "/org/freedesktop/secrets", "org.freedesktop.DBus.Properties"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Export(silent{stop}, "/org/freedesktop/secrets", "org.freedesktop.Secret.Service"); err != nil {
		t.Fatal(err)
	}
	if r, err := conn.RequestName("org.freedesktop.secrets", dbus.NameFlagDoNotQueue); err != nil || r != dbus.RequestNameReplyPrimaryOwner {
		t.Fatal(r, err)
	}
	k.Wait = 200 * time.Millisecond
	if _, err := k.Get(ctx, "work", "alice"); !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	k.Wait = time.Hour
	if err := k.Set(ctx, "work", Login{"alice", "x"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

type silent struct{ stop chan struct{} }

// Get is org.freedesktop.DBus.Properties.Get.
func (s silent) Get(string, string) (dbus.Variant, *dbus.Error) {
	<-s.stop
	return dbus.MakeVariant(""), nil
}

// OpenSession is org.freedesktop.Secret.Service.OpenSession.
func (s silent) OpenSession(string, dbus.Variant) (dbus.Variant, dbus.ObjectPath, *dbus.Error) {
	<-s.stop
	return dbus.MakeVariant(""), "/", nil
}

// TestInnerNoService: without a keychain on the bus, and without a bus; none is started.
func TestInnerNoService(t *testing.T) {
	ctx, k := inner(t)
	if _, err := os.Stat("/run/user/" + strconv.Itoa(os.Getuid()) + "/bus"); err == nil && os.Getenv("DBUS_SESSION_BUS_ADDRESS") == "" {
		t.Skip("this user has a session bus of its own")
	}
	if _, err := k.Get(ctx, "work", "alice"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}
