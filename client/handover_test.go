package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
)

// TestRestart: a service that is started again at once leaves guards closed, and has nobody sign in again where a server has given a token. One that
// ends for good leaves neither.
func TestRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		d.token, d.full = "token-1", true
		st := newStage(t, d.server, t.TempDir())
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-nocache\nreneg-sec 0"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		d.set(func() { d.judge = only("alice", "token-1") })
		file := filepath.Join(st.dir, "handover")
		left := func() string { text, _ := os.ReadFile(file); return string(text) }

		st.stopFor(ErrRestart)
		h := st.host(0)
		if got := closed(h); got != everything || !h.IsClosed() {
			t.Errorf("before the restart %q is closed", got)
		}
		if got := left(); !strings.Contains(got, "token-1") || strings.Contains(got, "pw") {
			t.Errorf("handed over: %s", got)
		}
		if info, err := os.Stat(file); err != nil || info.Mode() != 0o600 {
			t.Errorf("the file: %v %v", info.Mode(), err)
		}
		time.Sleep(time.Second)
		st.start()
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/token-1" {
			t.Errorf("the server saw %q", got)
		}
		if got := left(); got != "" {
			t.Errorf("the file stays: %s", got)
		}

		// What nobody has waited for is no good any more.
		st.stopFor(ErrRestart)
		time.Sleep(2 * handoverAge)
		st.start()
		st.asked(api.LoginPassword)
		if got := d.saw(); got != "" || left() != "" {
			t.Errorf("the server saw %q; left: %s", got, left())
		}

		// An end for good leaves nothing.
		d.set(func() { d.judge = only("alice", "pw") })
		st.say(st.asked(api.LoginPassword), api.Answer{Username: "alice", Password: "pw"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		h = st.hostCalled(st.nameOf(0))
		st.stop()
		if left() != "" || !h.Current().IsZero() {
			t.Errorf("after an end for good: %q, %+v", left(), h.Current())
		}
		// What cannot be read is removed, and stops nothing.
		if err := os.WriteFile(file, []byte(`{"version":2,"connections":"token-1"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		st.start()
		st.asked(api.LoginPassword)
		if left() != "" {
			t.Errorf("left: %s", left())
		}
	})
}

// TestRestartAnswered: what connected by itself belongs to the person who has signed in to it, also for the next service, which asks that
// person nothing.
func TestRestartAnswered(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		d.token, d.full = "token-1", true
		st := newManaged(t, d.server, `{"AutoConnect": "work"}`, map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass\nauth-nocache\nreneg-sec 0")})
		c := st.withSignIns()
		c.are("1000", "1001")
		st.say(st.asked(api.LoginPassword), api.Answer{Username: "alice", Password: "pw"})
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		d.set(func() { d.judge = only("alice", "token-1") })

		st.stopFor(ErrRestart)
		st.start()
		c.are("1000", "1001")
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/token-1" {
			t.Errorf("the server saw %q", got)
		}
		refused(t, "bob ends alice's", st.Disconnect(t.Context(), bob, "work"), api.CodeNotOwner)
		if got := st.store.wanted(); len(got) != 1 || got[0].Person != "1000" || got[0].Auto {
			t.Errorf("the wish: %+v", got)
		}

		// After a restart of the machine it begins with alice's session, or as everybody's with another person's.
		st.stop()
		st.start()
		c.are("0")
		time.Sleep(time.Minute)
		if got := st.connections(); len(got) != 0 {
			t.Errorf("nobody is there: %q", got)
		}
		c.are("0", "1000")
		st.asked(api.LoginPassword)
		refused(t, "bob ends alice's", st.Disconnect(t.Context(), bob, "work"), api.CodeNotOwner)
		st.stop()
		st.start()
		c.are("1001")
		st.asked(api.LoginPassword)
		if err := st.Disconnect(t.Context(), bob, "work"); err != nil {
			t.Error(err)
		}
	})
}

// TestAnswerTakenBack: who answers a connection that is just being disconnected wishes nothing for the next service.
func TestAnswerTakenBack(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		st := newManaged(t, d.server, `{"AutoConnect": "work"}`, map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass")})
		q := st.asked(api.LoginPassword)
		l := st.liveOf(key{managedOwner, "work"})
		if err := st.store.want(l.wish, false); err != nil { // as Disconnect does first
			t.Fatal(err)
		}
		st.say(q, api.Answer{Username: "alice", Password: "pw"})
		if got := st.store.wanted(); len(got) != 0 {
			t.Errorf("wanted: %+v", got)
		}
	})
}

// TestRestartLockdown: a sign-in is handed over, too, where the guard is closed before the connection begins.
func TestRestartLockdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		d.token = "token-1"
		st := newManaged(t, d.server, `{"BlockWhenDisconnected": true}`, map[string]string{"work": d.profile(remoteUDP + "\nauth-user-pass\nauth-nocache\nreneg-sec 0")})
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		d.set(func() { d.judge = only("alice", "token-1") })
		st.stopFor(ErrRestart)
		st.start()
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/token-1" {
			t.Errorf("the server saw %q", got)
		}
	})
}

// TestRestartSealed: where the system seals, no token can be read in what is handed over, and what another machine has sealed is not
// taken.
func TestRestartSealed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		d := newDoor(t, only("alice", "pw"))
		d.token, d.full = "token-1", true
		st := newStage(t, d.server, t.TempDir())
		st.stop()
		st.sealer = backwards{1}
		st.start()
		st.add(alice, "work", d.profile(remoteUDP+"\nauth-user-pass\nauth-nocache\nreneg-sec 0"))
		if err := st.Connect(alice, api.ConnectRequest{Profile: "work", Username: "alice", Password: "pw"}); err != nil {
			t.Fatal(err)
		}
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		d.saw()
		d.set(func() { d.judge = only("alice", "token-1") })
		file := filepath.Join(st.dir, "handover")

		st.stopFor(ErrRestart)
		sealed, err := os.ReadFile(file)
		if err != nil || strings.Contains(string(sealed), "token-1") {
			t.Fatalf("handed over: %s, %v", sealed, err)
		}
		st.start()
		st.untilState(alice, "work", api.Connected, 10*time.Second)
		if got := d.saw(); got != "alice/token-1" {
			t.Errorf("the server saw %q", got)
		}

		st.stopFor(ErrRestart)
		foreign, err := backwards{2}.Seal([]byte(`{"version":2}`))
		if err == nil {
			err = os.WriteFile(file, foreign, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		st.start()
		st.asked(api.LoginPassword)
		if _, err := os.Stat(file); err == nil {
			t.Error("what nobody can open stays")
		}
	})
}

func FuzzParseHandover(f *testing.F) {
	f.Add([]byte(`{"version":2,"made":"2026-01-01T00:00:00Z","connections":[{"owner":"1000","profile":"work","user":"alice","token":"secret"}],"begun":true,"people":["1000"],"auto_connect":"work"}`))
	f.Add([]byte(`{"version":3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		in, err := parseHandover(text)
		if err == nil && in.Version != handoverVersion {
			t.Errorf("version %d", in.Version)
		}
		if err != nil && len(in.Connections) > 0 {
			t.Error("an error with connections")
		}
	})
}
