package endpoint

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/platform/outputtest"
)

// logKeys are the keys of AWS's log in its order, from its administrator guide.
var logKeys = strings.Fields(`connection-log-type connection-attempt-status connection-reset-status connection-attempt-failure-reason connection-id
	client-vpn-endpoint-id transport-protocol connection-start-time connection-last-update-time client-ip client-ip-v6 common-name device-type device-ip
	port ingress-bytes egress-bytes ingress-packets egress-packets connection-end-time username posture-compliance-statuses connection-duration-seconds`)

// entries waits for n lines of the connection log, and returns them by key.
func (r *running) entries(t *testing.T, n int) []map[string]string {
	t.Helper()
	late := time.Now().Add(patience)
	for strings.Count(r.journal.String(), "\n") < n && time.Now().Before(late) {
		time.Sleep(10 * time.Millisecond)
	}
	text := r.journal.String()
	if strings.Count(text, "\n") != n {
		t.Fatalf("the connection log has not %d lines:\n%s", n, text)
	}
	var out []map[string]string
	for line := range strings.Lines(text) {
		d, e := json.NewDecoder(strings.NewReader(line)), map[string]string{}
		var keys []string
		for tok, err := d.Token(); err == nil; tok, err = d.Token() {
			if key, ok := tok.(string); ok {
				value, err := d.Token()
				if _, isText := value.(string); err != nil || !isText || value == "" {
					t.Fatalf("%s is %v in %s", key, value, line)
				}
				keys, e[key] = append(keys, key), value.(string)
			}
		}
		if !slices.Equal(keys, logKeys) {
			t.Fatalf("keys %q", keys)
		}
		out = append(out, e)
	}
	return out
}

// like demands values of an entry; those that begin with ~ are patterns.
func like(t *testing.T, e map[string]string, want ...string) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		key, value := want[i], want[i+1]
		if pattern, ok := strings.CutPrefix(value, "~"); ok && regexp.MustCompile("^(?:"+pattern+")$").MatchString(e[key]) {
			continue
		}
		if _, there := e[key]; !there || e[key] != value {
			t.Errorf("%s is %q, not %q, in %v", key, e[key], value, e)
		}
	}
}

const (
	aMoment     = `~\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`
	aConnection = `~cvpn-connection-[0-9a-f]{17}`
)

// TestConnectionLog: a connection with a certificate is logged when it begins, and when it ends with what went through it; an
// attempt with a wrong certificate is not, as on AWS.
func TestConnectionLog(t *testing.T) {
	for _, transport := range []string{"udp", "tcp"} {
		t.Run(transport, func(t *testing.T) {
			r := start(t, transport)
			r.peerInfo = []string{"IV_PLAT=linux"}
			d := r.dial(t, r.tlsConfig(t, "ann"))
			reply := wait[ovpn.PushReply](t, d).Reply
			first := r.entries(t, 1)[0]
			from := netip.MustParseAddrPort(d.conn.LocalAddr().String())
			like(t, first, "connection-log-type", "connection-attempt", "connection-attempt-status", "successful", "connection-reset-status", "NA",
				"connection-attempt-failure-reason", "NA", "connection-id", aConnection, "client-vpn-endpoint-id", EndpointID("test"),
				"transport-protocol", transport, "connection-start-time", aMoment, "connection-last-update-time", aMoment,
				"client-ip", reply.Address.Addr().String(), "client-ip-v6", reply.Address6.Addr().String(), "common-name", "ann", "device-type", "linux",
				"device-ip", from.Addr().String(), "port", strconv.Itoa(int(from.Port())), "ingress-bytes", "0", "egress-packets", "0",
				"connection-end-time", "NA", "username", "NA", "posture-compliance-statuses", "NA", "connection-duration-seconds", "NA")
			for range 5 {
				d.ping(t, reply.Address.Addr())
			}
			d.cancel()
			last := r.entries(t, 2)[1]
			n := d.data.Counters()
			like(t, last, "connection-log-type", "connection-reset", "connection-attempt-status", "NA", "connection-reset-status", "NA",
				"connection-id", first["connection-id"], "connection-start-time", first["connection-start-time"], "connection-end-time", aMoment,
				"client-ip", first["client-ip"], "common-name", "ann", "device-type", "linux", "connection-duration-seconds", `~\d+`,
				"ingress-bytes", strconv.FormatUint(n.TxBytes, 10), "egress-bytes", strconv.FormatUint(n.RxBytes, 10),
				"ingress-packets", strconv.FormatUint(n.TxPackets, 10), "egress-packets", strconv.FormatUint(n.RxPackets, 10))
			if n.TxPackets < 5 || n.RxPackets < 5 {
				t.Errorf("counters %+v", n)
			}
			cfg := r.tlsConfig(t, "ann")
			cfg.Certificates = nil
			<-r.dial(t, cfg).done
			r.says(t, regexp.MustCompile("client refused"))
			r.entries(t, 2)
		})
	}
}

// TestConnectionLogFederated: a sign-in in the browser makes two connections of one, and a third with an old answer fails.
func TestConnectionLogFederated(t *testing.T) {
	r := start(t, "udp")
	p := r.federate(t, "  - federated: {idp_metadata: idp.xml}\n")
	with := r.tlsConfig(t, "ann")
	with.Certificates = nil
	r.user, r.password, r.peerInfo = challenge.AWSUser, challenge.AWSHello, []string{"IV_PLAT=mac"}
	asked := wait[ovpn.AuthFailed](t, r.dial(t, with))
	waits := r.entries(t, 1)[0]
	like(t, waits, "connection-log-type", "connection-attempt", "connection-attempt-status", "waiting-for-assertion", "username", "NA", "common-name", "NA",
		"device-type", "mac", "client-ip", "NA", "connection-end-time", "NA")
	r.password = browse(t, p, asked.Reason, "alice@example.com")
	wait[ovpn.PushReply](t, r.dial(t, with))
	list := r.entries(t, 3)
	like(t, list[1], "connection-log-type", "connection-reset", "connection-attempt-status", "NA", "connection-reset-status", "assertion-received",
		"connection-id", waits["connection-id"], "connection-end-time", aMoment)
	like(t, list[2], "connection-log-type", "connection-attempt", "connection-attempt-status", "successful", "username", "alice@example.com",
		"connection-id", aConnection, "device-type", "mac")
	if list[2]["connection-id"] == waits["connection-id"] {
		t.Error("both connections have one id")
	}
	wait[ovpn.AuthFailed](t, r.dial(t, with)) // the same answer again
	like(t, r.entries(t, 4)[3], "connection-attempt-status", "failed", "connection-attempt-failure-reason", failedAuthentication, "username", "NA",
		"connection-end-time", aMoment, "client-ip", "NA")
	if strings.Contains(r.journal.String(), "SAML") || strings.Contains(r.journal.String(), "CRV1") {
		t.Error("the answer is in the connection log")
	}
}

// TestConnectionLogPasswords: a wrong password is a failed attempt under the name that was typed.
func TestConnectionLogPasswords(t *testing.T) {
	r := startWith(t, "udp", withUsers(t, "  - directory: {users: USERS}\n"))
	cfg := r.tlsConfig(t, "ann")
	cfg.Certificates = nil
	r.user, r.password = "ann", "wrong"
	wait[ovpn.AuthFailed](t, r.dial(t, cfg))
	like(t, r.entries(t, 1)[0], "connection-attempt-status", "failed", "connection-attempt-failure-reason", failedAuthentication, "username", "ann",
		"client-ip", "NA", "device-type", "NA")
}

// broken is a log of which only some writes work.
type broken struct {
	to    io.Writer
	fine  map[int]bool
	tries int
}

func (b *broken) Write(p []byte) (int, error) {
	b.tries++
	if !b.fine[b.tries-1] {
		return 0, errors.New("no space left on device")
	}
	return b.to.Write(p)
}

// TestConnectionLogBroken: a log that cannot be written is told once, and again after it worked.
func TestConnectionLogBroken(t *testing.T) {
	said, kept := &outputtest.Output{}, &outputtest.Output{}
	b := &broken{to: kept, fine: map[int]bool{2: true}}
	l := newConnLog(b, "")
	end := l.start(slog.New(slog.NewTextHandler(said, nil)))
	for _, name := range []string{"", "", "a<b>&c\n", "", ""} {
		l.add(logEntry{Username: name})
	}
	end()
	if n := strings.Count(said.String(), "not as it should be"); n != 2 {
		t.Errorf("told %d times: %s", n, said)
	}
	if n := l.lostSoFar(); n != 4 {
		t.Errorf("%d are lost", n)
	}
	l.to = loses{b}
	if n := l.lostSoFar(); n != 4+7 {
		t.Errorf("%d are lost, with those that the log took first", n)
	}
	if text := kept.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"username":"a<b>&c\n"`) {
		t.Errorf("%q", text)
	}
}

// loses is a log that counts what it loses later.
type loses struct{ io.Writer }

func (loses) Lost() uint64 { return 7 }

// stalled is a log that takes nothing until it is released.
type stalled chan struct{}

func (s stalled) Write(p []byte) (int, error) { <-s; return len(p), nil }

// TestConnectionLogStalls: a log that stands still holds up neither clients nor the end, is told, and loses what there is no
// room for.
func TestConnectionLogStalls(t *testing.T) {
	said, release := &outputtest.Output{}, make(stalled)
	l := newConnLog(release, "")
	end := l.start(slog.New(slog.NewTextHandler(said, nil)))
	for range maxLines + 100 {
		l.add(logEntry{})
	}
	if n := l.dropped.Load(); n < 99 || n > 100 { // run has one in its hands
		t.Errorf("%d are lost", n)
	}
	end()
	if !strings.Contains(said.String(), "stands still") {
		t.Errorf("said %q", said)
	}
	close(release)
	for late := time.Now().Add(patience); !strings.Contains(said.String(), "too slow"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("said %q", said)
		}
	}
}

// TestConnectionLogHoldsNobodyUp: clients come and go while the log stands still.
func TestConnectionLogHoldsNobodyUp(t *testing.T) {
	s := make(stalled)
	t.Cleanup(func() { close(s) }) // after the endpoint has ended
	r := startLogged(t, "udp", s)
	for range 3 {
		d := r.dial(t, r.tlsConfig(t, "ann"))
		reply := wait[ovpn.PushReply](t, d).Reply
		d.ping(t, reply.Address.Addr())
		d.cancel()
	}
}

// TestConnectionLogWaiting: what is remembered of sign-ins is bounded, and the oldest go, as do those that are over.
func TestConnectionLogWaiting(t *testing.T) {
	l := newConnLog(io.Discard, "")
	for i := range maxWaiting + 10 {
		l.wait(time.Unix(int64(i)/100, 0), strconv.Itoa(i), logEntry{ID: strconv.Itoa(i)})
	}
	if len(l.waiting) != maxWaiting {
		t.Errorf("%d", len(l.waiting))
	}
	if _, ok := l.answered("9"); ok {
		t.Error("an old one is there")
	}
	if e, ok := l.answered("10"); !ok || e.ID != "10" {
		t.Errorf("%+v %v", e, ok)
	}
	if _, ok := l.answered("10"); ok {
		t.Error("it is answered twice")
	}
	l.wait(time.Unix(maxWaiting/100, 0).Add(auth.SignInTime), "last", logEntry{})
	if n := len(l.waiting); n < 2 || n > 200 {
		t.Errorf("%d are there when nearly all are over", n)
	}
	if len(l.asked) > maxWaiting {
		t.Errorf("%d states", len(l.asked))
	}
}

// TestConnectionLogBytes: what waits to be written is bounded in bytes, too.
func TestConnectionLogBytes(t *testing.T) {
	release := make(stalled)
	l := newConnLog(release, "")
	end := l.start(slog.New(slog.DiscardHandler))
	long := logEntry{Username: strings.Repeat("u", 1<<20)}
	for range 100 {
		l.add(long)
	}
	if n := l.dropped.Load(); n < 84 || n > 86 { // run has one in its hands
		t.Errorf("%d are lost", n)
	}
	close(release)
	end()
	if n := l.bytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted when none wait", n)
	}
}

// TestLongClaims: of what somebody says of himself who has proved nothing, little gets into logs and memory: a user name, and the name of
// his system, of tens of thousands of bytes, which are six times as many in JSON.
func TestLongClaims(t *testing.T) {
	r := start(t, "udp")
	r.federate(t, "  - federated: {idp_metadata: idp.xml}\n")
	with := r.tlsConfig(t, "ann")
	with.Certificates = nil
	long := strings.Repeat("\x01", 60000)
	r.peerInfo = []string{"IV_PLAT=" + long}
	r.user, r.password = long, "wrong"
	wait[ovpn.AuthFailed](t, r.dial(t, with))
	r.user, r.password = challenge.AWSUser, challenge.AWSHello
	wait[ovpn.AuthFailed](t, r.dial(t, with))
	list := r.entries(t, 2)
	like(t, list[0], "connection-attempt-status", "failed", "username", long[:maxSaid], "device-type", long[:maxSaid])
	like(t, list[1], "connection-attempt-status", "waiting-for-assertion", "device-type", long[:maxSaid])
	r.says(t, regexp.MustCompile("no session.*neither the beginning"))
	for line := range strings.Lines(r.log.String()) {
		if len(line) > 4096 {
			t.Errorf("a line of %d bytes: %s…", len(line), line[:300])
		}
	}
	r.connLog.mu.Lock()
	defer r.connLog.mu.Unlock()
	for _, e := range r.connLog.waiting {
		if e.DeviceType != long[:maxSaid] {
			t.Errorf("%d bytes are remembered", len(e.DeviceType))
		}
	}
}

// TestKnown: of peer info that is remembered nothing else stays in memory.
func TestKnown(t *testing.T) {
	used := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := used()
	var kept []map[string]string
	for range 200 {
		text := strings.Repeat("x", 64<<10) + "win" // as a message is
		kept = append(kept, known(map[string]string{"IV_PLAT": text[64<<10:], "UV_ID": text[:100], "UV_OTHER": text}))
	}
	if n := int64(used()) - int64(before); n > 4<<20 {
		t.Errorf("%d bytes are in use for %d clients", n, len(kept))
	}
	if m := kept[7]; len(m) != 2 || m["IV_PLAT"] != "win" || len(m["UV_ID"]) != 100 {
		t.Errorf("%v", m)
	}
	if s := said(strings.Repeat("ü", 200)); s != strings.Repeat("ü", maxSaid/2) {
		t.Errorf("cut within a letter: %q", s)
	}
	runtime.KeepAlive(kept)
}
