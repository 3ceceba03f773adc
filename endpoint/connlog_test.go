package endpoint

import (
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/challenge"
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

// broken is a log that cannot be written until it is mended.
type broken struct {
	to   io.Writer
	fine bool
}

func (b *broken) Write(p []byte) (int, error) {
	if !b.fine {
		return 0, errors.New("no space left on device")
	}
	return b.to.Write(p)
}

// TestConnectionLogBroken: a log that cannot be written is told once, and again after it worked.
func TestConnectionLogBroken(t *testing.T) {
	r := start(t, "udp")
	b := &broken{to: r.journal}
	l := &connLog{to: b}
	count := func(want int) {
		t.Helper()
		if n := strings.Count(r.log.String(), "connection log cannot be written"); n != want {
			t.Errorf("told %d times, not %d", n, want)
		}
	}
	l.write(r.Server, logEntry{})
	l.write(r.Server, logEntry{})
	count(1)
	b.fine = true
	l.write(r.Server, logEntry{Username: "a<b>&c\n"})
	b.fine = false
	l.write(r.Server, logEntry{})
	count(2)
	if text := r.journal.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"username":"a<b>&c\n"`) {
		t.Errorf("%q", text)
	}
}

// TestConnectionLogWaiting: what is remembered of sign-ins is bounded, and the oldest go.
func TestConnectionLogWaiting(t *testing.T) {
	l := &connLog{to: io.Discard}
	for i := range maxWaiting + 10 {
		l.wait(strconv.Itoa(i), logEntry{ID: strconv.Itoa(i), Start: logTime(time.Unix(int64(i), 0))})
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
}
