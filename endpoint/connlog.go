package endpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
)

// notSet is what the connection log has in place of a value that there is not.
const notSet = "NA"

// Why attempts failed for which AWS's guide has no word: its words are of connect handlers and policies.
const (
	failedAuthentication = "authentication-failed" // the password, code, assertion or token did not pass
	failedNoAddress      = "no-address"            // the client CIDR is used up
)

// logEntry is one line of the connection log: the keys of AWS Client VPN in its order ("Connection logging" in its
// administrator guide). All values but one are strings.
type logEntry struct {
	Type           string `json:"connection-log-type"` // connection-attempt or connection-reset
	Attempt        string `json:"connection-attempt-status"`
	Reset          string `json:"connection-reset-status"`
	FailureReason  string `json:"connection-attempt-failure-reason"`
	ID             string `json:"connection-id"`
	Endpoint       string `json:"client-vpn-endpoint-id"`
	Transport      string `json:"transport-protocol"`
	Start          string `json:"connection-start-time"`
	LastUpdate     string `json:"connection-last-update-time"`
	ClientIP       string `json:"client-ip"` // inside
	ClientIPv6     string `json:"client-ip-v6"`
	CommonName     string `json:"common-name"`
	DeviceType     string `json:"device-type"` // as the client says: linux, mac, win
	DeviceIP       string `json:"device-ip"`   // outside
	Port           string `json:"port"`        // outside
	IngressBytes   string `json:"ingress-bytes"`
	EgressBytes    string `json:"egress-bytes"`
	IngressPackets string `json:"ingress-packets"`
	EgressPackets  string `json:"egress-packets"`
	End            string `json:"connection-end-time"`
	Username       string `json:"username"`
	Posture        string `json:"posture-compliance-statuses"`
	// Evaluation is there where a policy has judged; of all keys it alone is no string.
	Evaluation      *evaluation `json:"authorization-policy-evaluation,omitempty"`
	DurationSeconds string      `json:"connection-duration-seconds"`
}

// connLog keeps entries. A log that is slow, or stands still, holds up no client: run writes them. Safe for concurrent use.
type connLog struct {
	to       io.Writer // whole lines; nil: nothing is kept
	endpoint string
	lines    chan string   // for run
	bytes    atomic.Int64  // of lines
	dropped  atomic.Uint64 // since run last said so
	lost     atomic.Uint64 // in all

	mu      sync.Mutex
	waiting map[string]logEntry // attempts that wait for an assertion, by the sign-in's state
	asked   []question          // their states, and those of some that were answered, the oldest first
}

// question is a sign-in in the browser.
type question struct {
	state string
	at    time.Time
}

// Bounds of the connection log.
const (
	maxLines  = 4096            // that wait to be written
	maxBytes  = 16 << 20        // of them
	drainTime = 2 * time.Second // for them at the end
)

func newConnLog(to io.Writer, endpoint string) *connLog {
	return &connLog{to: to, endpoint: endpoint, lines: make(chan string, maxLines)}
}

// maxWaiting bounds the sign-ins in the browser that the log remembers: the oldest go, and those whose answer would be too late.
const maxWaiting = 4096

// EndpointID is a name in AWS's form that stays the same for a seed, such as a data directory's path.
func EndpointID(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return "cvpn-endpoint-" + hex.EncodeToString(sum[:])[:17]
}

// logTime is AWS's form: UTC, to the second.
func logTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func orNA(s string) string {
	if s == "" {
		return notSet
	}
	return s
}

func ipOrNA(a netip.Addr) string {
	if !a.IsValid() {
		return notSet
	}
	return a.String()
}

// entryOf is what is known of a client now. Only on its goroutine.
func (p *peer) entryOf(now time.Time, info map[string]string) logEntry {
	from := p.from()
	e := logEntry{
		Type: "connection-attempt", Attempt: notSet, Reset: notSet, FailureReason: notSet,
		ID: p.name, Endpoint: p.server.connLog.endpoint, Transport: p.gen.Load().cfg.Transport,
		Start: logTime(p.start), LastUpdate: logTime(now), ClientIP: notSet, ClientIPv6: notSet, CommonName: notSet,
		DeviceType: orNA(info["IV_PLAT"]), DeviceIP: ipOrNA(from.Addr().Unmap()), Port: strconv.Itoa(int(from.Port())),
		IngressBytes: "0", EgressBytes: "0", IngressPackets: "0", EgressPackets: "0",
		End: notSet, Username: notSet, Posture: notSet, DurationSeconds: notSet, Evaluation: p.evaluation,
	}
	if p.login != challenge.AWSUser { // which nobody is called
		e.Username = orNA(p.login)
	}
	return e
}

// of fills in who a client is.
func (e *logEntry) of(st *status) {
	e.CommonName, e.Username, e.DeviceType = orNA(st.identity.CommonName), orNA(st.identity.Username), orNA(st.platform)
	e.Posture = orNA(strings.Join(st.posture, ", "))
	e.ClientIP, e.ClientIPv6 = ipOrNA(st.lease.Addr.Addr()), ipOrNA(st.lease.Addr6.Addr())
}

// logConnected is a client that has its configuration. Only on run's goroutine, as the others.
func (p *peer) logConnected(now time.Time) {
	e := p.entryOf(now, nil)
	e.of(p.status.Load())
	e.Attempt = "successful"
	p.logged = true
	p.server.connLog.add(e)
}

// logEnded is the end of one that was logged as connected.
func (p *peer) logEnded(now time.Time) {
	if !p.logged {
		return
	}
	st, n := p.status.Load(), p.data.Counters()
	e := p.entryOf(now, nil)
	e.of(st)
	e.Type, e.End = "connection-reset", logTime(now)
	e.IngressBytes, e.EgressBytes = strconv.FormatUint(n.RxBytes, 10), strconv.FormatUint(n.TxBytes, 10)
	e.IngressPackets, e.EgressPackets = strconv.FormatUint(n.RxPackets, 10), strconv.FormatUint(n.TxPackets, 10)
	e.DurationSeconds = strconv.FormatInt(int64(now.Sub(p.start).Seconds()), 10)
	p.server.connLog.add(e)
}

// logFailed is a client that did not pass. Those whose certificate is wrong are in no log, as on AWS.
func (p *peer) logFailed(now time.Time, j *judging, reason string) {
	if j.asked.Renegotiation {
		return // it was connected, and its end says the rest
	}
	e := p.entryOf(now, j.asked.PeerInfo)
	e.CommonName = orNA(j.proved.CommonName)
	if j.proved.Username != "" {
		e.Username = j.proved.Username
	}
	e.Posture = orNA(strings.Join(j.posture, ", "))
	e.Attempt, e.FailureReason, e.End = "failed", reason, logTime(now)
	p.server.connLog.add(e)
}

// logAsked is a client that was sent to the browser: its next session brings the answer.
func (p *peer) logAsked(now time.Time, j *judging, c auth.Challenge) {
	d, err := challenge.ParseDynamic(c.Text)
	if err != nil || p.login != challenge.AWSUser {
		return // AWS asks for nothing else in this way
	}
	e := p.entryOf(now, j.asked.PeerInfo)
	e.CommonName, e.Attempt = orNA(j.proved.CommonName), "waiting-for-assertion"
	p.server.connLog.wait(now, d.State, e)
	p.server.connLog.add(e)
}

// logAnswered is the end of the wait, when an answer comes, be it good or not.
func (p *peer) logAnswered(now time.Time, password push.Secret) {
	state, _, ok := challenge.ParseAnswer(password)
	if !ok {
		return
	}
	e, ok := p.server.connLog.answered(state)
	if !ok {
		return
	}
	e.Type, e.Attempt, e.Reset, e.LastUpdate, e.End = "connection-reset", notSet, "assertion-received", logTime(now), logTime(now)
	p.server.connLog.add(e)
}

// wait remembers an attempt until answered.
func (l *connLog) wait(now time.Time, state string, e logEntry) {
	if l.to == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == nil {
		l.waiting = map[string]logEntry{}
	}
	for len(l.asked) > 0 && (len(l.asked) >= maxWaiting || now.Sub(l.asked[0].at) > auth.SignInTime) {
		delete(l.waiting, l.asked[0].state)
		l.asked = l.asked[1:]
	}
	l.asked = append(l.asked, question{state, now})
	l.waiting[state] = e
}

// answered finds an attempt, once.
func (l *connLog) answered(state string) (logEntry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.waiting[state]
	delete(l.waiting, state)
	return e, ok
}

// add hands an entry to run. It does not wait: what there is no room for is counted.
func (l *connLog) add(e logEntry) {
	if l.to == nil {
		return
	}
	var b strings.Builder
	enc := json.NewEncoder(&b) // which ends with a line break
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		panic(err) // strings, and what package cedar takes
	}
	size := int64(b.Len())
	if l.bytes.Add(size) <= maxBytes {
		select {
		case l.lines <- b.String():
			return
		default:
		}
	}
	l.bytes.Add(-size)
	l.dropped.Add(1)
	l.lost.Add(1)
}

// lostSoFar is how many entries are nowhere.
func (l *connLog) lostSoFar() uint64 {
	n := l.lost.Load()
	if to, ok := l.to.(interface{ Lost() uint64 }); ok {
		n += to.Lost()
	}
	return n
}

// run writes until lines is closed. What goes wrong is told once, until it works again.
func (l *connLog) run(log *slog.Logger) {
	failed := false
	for line := range l.lines {
		l.bytes.Add(-int64(len(line)))
		n, err := io.WriteString(l.to, line)
		if n < len(line) {
			l.lost.Add(1)
		}
		if err != nil && !failed {
			log.Error("the connection log is not as it should be", "error", err)
		}
		failed = err != nil
		if n := l.dropped.Swap(0); n > 0 {
			log.Error("the connection log was too slow: entries are lost", "lost", n)
		}
	}
}

// start runs it until end is called, once no client adds anything any more. A log that stands still even then is left alone.
func (l *connLog) start(log *slog.Logger) (end func()) {
	if l.to == nil {
		return func() {}
	}
	done := make(chan struct{})
	go func() { defer close(done); l.run(log) }()
	return func() {
		close(l.lines)
		late := time.NewTimer(drainTime)
		defer late.Stop()
		select {
		case <-done:
		case <-late.C:
			log.Error("the connection log stands still: its last entries are lost", "lost", len(l.lines))
		}
	}
}
