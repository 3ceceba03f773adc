package cloudwatch

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
)

// fake is CloudWatch Logs with one group. It trusts nothing that it cannot compute itself.
type fake struct {
	t *testing.T

	mu      sync.Mutex
	streams map[string][]event // of the group "vpn"
	calls   []time.Time
	batches []int  // events of each PutLogEvents that passed
	fail    func() // answers a request in place of the API, by panicking with a refusal; nil: no
	reject  string // RejectedLogEventsInfo
}

// maxEvent is how long one may be, bytes; AWS's own limit was that until 2025.
const maxEvent = 256<<10 - 26

type event struct {
	Message   string `json:"message"`
	Timestamp int64  `json:"timestamp"`
}

type refusal struct {
	status     int
	code, text string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, time.Now())
	defer func() {
		if r, ok := recover().(refusal); ok {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(r.status)
			fmt.Fprintf(w, `{"__type":%q,"message":%q}`, r.code, r.text)
		}
	}()
	body, err := io.ReadAll(q.Body)
	if err != nil {
		f.t.Error(err)
	}
	if why := unsigned(q, body); why != "" {
		panic(refusal{400, "InvalidSignatureException", why})
	}
	if q.Method != http.MethodPost || q.URL.Path != "/" || q.Header.Get("Content-Type") != "application/x-amz-json-1.1" {
		f.t.Errorf("%s %s, %s", q.Method, q.URL, q.Header.Get("Content-Type"))
	}
	if f.fail != nil {
		f.fail()
	}
	var in struct {
		LogGroupName, LogStreamName string
		LogEvents                   []event
	}
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&in); err != nil {
		f.t.Error(err)
	}
	_, there := f.streams[in.LogStreamName]
	missing := refusal{400, "ResourceNotFoundException", "The specified log group does not exist."}
	if in.LogGroupName != "vpn" {
		panic(missing)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	switch q.Header.Get("X-Amz-Target") {
	case "Logs_20140328.CreateLogStream":
		if there {
			panic(refusal{400, "ResourceAlreadyExistsException", "The specified log stream already exists"})
		}
		f.streams[in.LogStreamName] = nil
	case "Logs_20140328.PutLogEvents":
		if !there {
			panic(missing)
		}
		size := 0
		for _, e := range in.LogEvents {
			size += len(e.Message) + 26
			if len(e.Message) > maxEvent {
				panic(refusal{400, "InvalidParameterException", "Log event too large"})
			}
		}
		if n := len(in.LogEvents); n == 0 || n > 10000 || size > 1048576 || !slices.IsSortedFunc(in.LogEvents, func(a, b event) int { return int(a.Timestamp - b.Timestamp) }) {
			panic(refusal{400, "InvalidParameterException", fmt.Sprintf("%d events, %d bytes", n, size)})
		}
		f.streams[in.LogStreamName] = append(f.streams[in.LogStreamName], in.LogEvents...)
		f.batches = append(f.batches, len(in.LogEvents))
		fmt.Fprintf(w, `{"nextSequenceToken":"1"%s}`, f.reject)
	default:
		f.t.Errorf("target %s", q.Header.Get("X-Amz-Target"))
	}
}

// unsigned says what is wrong with a request's signature: AWS's "Create a signed API request", step by step.
func unsigned(q *http.Request, body []byte) string {
	rest, ok := strings.CutPrefix(q.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	if !ok {
		return "not signed"
	}
	part := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		part[k] = v
	}
	date := q.Header.Get("X-Amz-Date")
	if at, err := time.Parse("20060102T150405Z", date); err != nil || time.Since(at).Abs() > 5*time.Minute {
		return "date " + date
	}
	scope := date[:8] + "/eu-west-1/logs/aws4_request"
	if part["Credential"] != keyID+"/"+scope {
		return "credential " + part["Credential"]
	}
	names := strings.Split(part["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-target", "content-type"} {
		if !slices.Contains(names, must) {
			return must + " is not signed"
		}
	}
	var headers strings.Builder
	for _, n := range names {
		v := q.Header.Get(n)
		switch n {
		case "host":
			v = q.Host
		case "content-length":
			v = fmt.Sprint(q.ContentLength)
		}
		headers.WriteString(n + ":" + strings.TrimSpace(v) + "\n")
	}
	sum := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) }
	canonical := strings.Join([]string{q.Method, q.URL.EscapedPath(), q.URL.RawQuery, headers.String(), part["SignedHeaders"], sum(body)}, "\n")
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + secret)
	for p := range strings.SplitSeq(scope, "/") {
		key = mac(key, p)
	}
	want := hex.EncodeToString(mac(key, "AWS4-HMAC-SHA256\n"+date+"\n"+scope+"\n"+sum([]byte(canonical))))
	if part["Signature"] != want {
		return "signature " + part["Signature"]
	}
	return ""
}

// RoundTrip answers without a network, for tests with a clock of their own.
func (f *fake) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Host == "" {
		q.Host = q.URL.Host
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, q)
	return w.Result(), q.Context().Err()
}

// keys are what the environment has, and nothing else of this machine.
func keys(t *testing.T) {
	none := t.TempDir() + "/none"
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": keyID, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "", "AWS_CA_BUNDLE": "", "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": ""} {
		t.Setenv(k, v)
	}
}

// sink runs one against f until end is called.
func sink(t *testing.T, f *fake, stream string) (s *Sink, log *bytes.Buffer, end func()) {
	t.Helper()
	f.t = t
	if f.streams == nil {
		f.streams = map[string][]event{"named": nil}
	}
	log = &bytes.Buffer{} // read when nothing runs
	s, err := Open(t.Context(), Config{Group: "vpn", Stream: stream, Default: "cvpn-endpoint-1", Region: "eu-west-1"},
		&http.Client{Transport: f}, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx) }()
	return s, log, func() { cancel(); <-done }
}

func write(t *testing.T, s *Sink, lines ...string) {
	t.Helper()
	for _, l := range lines {
		if n, err := s.Write([]byte(l + "\n")); err != nil || n != len(l)+1 {
			t.Fatalf("wrote %d of %q: %v", n, l, err)
		}
	}
}

// seen are the times of all requests, and the sizes of those that passed.
func (f *fake) seen() (calls []time.Time, batches []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls), slices.Clone(f.batches)
}

func (f *fake) messages(stream string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, e := range f.streams[stream] {
		out = append(out, e.Message)
	}
	return strings.Join(out, " ")
}

// TestCollects: lines wait five seconds for others and go in one request, in their order; without a stream's name there is one.
func TestCollects(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s, log, end := sink(t, f, "")
		begin := time.Now()
		write(t, s, "one")
		time.Sleep(3 * time.Second)
		write(t, s, "two", "thr\xffee")
		time.Sleep(time.Second)
		if calls, _ := f.seen(); len(calls) != 0 {
			t.Errorf("%d requests after four seconds", len(calls))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		calls, _ := f.seen()
		if got := f.messages("cvpn-endpoint-1"); got != "one two thr\uFFFDee" || len(calls) != 3 || !calls[0].Equal(begin.Add(5*time.Second)) { // put, create, put
			t.Errorf("%q after %d requests", got, len(calls))
		}
		f.mu.Lock()
		e := f.streams["cvpn-endpoint-1"]
		f.mu.Unlock()
		if len(e) == 3 && (e[0].Timestamp != begin.UnixMilli() || e[2].Timestamp != begin.Add(3*time.Second).UnixMilli()) {
			t.Errorf("times of %+v", e)
		}
		time.Sleep(time.Hour)
		write(t, s, "four")
		end()
		if got := f.messages("cvpn-endpoint-1"); !strings.HasSuffix(got, " four") || len(f.calls) != 4 || s.Lost() != 0 || log.Len() != 0 {
			t.Errorf("%q after %d requests; %s", got, len(f.calls), log)
		}
	})
}

// TestBatches: no request is larger than the API takes, and a full one does not wait.
func TestBatches(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		s, log, end := sink(t, f, "named")
		for range 25000 {
			write(t, s, "line")
		}
		synctest.Wait()
		if _, batches := f.seen(); !slices.Equal(batches, []int{10000, 10000}) {
			t.Errorf("at once %v", batches)
		}
		time.Sleep(collectTime)
		synctest.Wait()
		long := strings.Repeat("x", 100_000-eventBytes)
		for range 15 {
			write(t, s, long)
		}
		end()
		if !slices.Equal(f.batches, []int{10000, 10000, 5000, 10, 5}) || log.Len() != 0 || s.Lost() != 0 {
			t.Errorf("%v; %s", f.batches, log)
		}
	})
}

// TestTriesAgain: what is not taken waits, is tried again later and later, and comes once, in its order.
func TestTriesAgain(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{}
		answers := []refusal{{400, "ThrottlingException", "Rate exceeded"}, {500, "InternalFailure", "x"}, {503, "ServiceUnavailableException", "x"},
			{400, "ResourceNotFoundException", "no group"}, {400, "AccessDeniedException", "x"}, {500, "InternalFailure", "x"}, {500, "InternalFailure", "x"}, {500, "InternalFailure", "x"}}
		f.fail = func() {
			if len(answers) > 0 {
				next := answers[0]
				answers = answers[1:]
				panic(next)
			}
		}
		s, log, end := sink(t, f, "named")
		write(t, s, "one")
		time.Sleep(10 * time.Second)
		write(t, s, "two")
		time.Sleep(time.Hour)
		end()
		var pauses []string
		for i := 1; i < len(f.calls); i++ {
			pauses = append(pauses, f.calls[i].Sub(f.calls[i-1]).String())
		}
		if got := strings.Join(pauses, " "); got != "1s 2s 4s 8s 16s 32s 1m0s 1m0s" {
			t.Errorf("pauses %s", got)
		}
		if got := f.messages("named"); got != "one two" || s.Lost() != 0 {
			t.Errorf("%q, %d lost", got, s.Lost())
		}
		if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "it waits") || !strings.Contains(text, "ThrottlingException: Rate exceeded") || !strings.Contains(text, "again") {
			t.Errorf("said %s", text)
		}
	})
}

// TestSpan: what waited for days, over a clock that went back, is no more than a day in one request.
func TestSpan(t *testing.T) {
	begin := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	s := &Sink{}
	for _, hours := range []int{0, 20, -3, 2, -5, 30, 31} { // of which 20 and -5 are too far apart
		s.waiting = append(s.waiting, line{at: begin.Add(time.Duration(hours) * time.Hour), text: "x"})
	}
	for _, want := range []int{4, 1, 2} {
		got := s.batch()
		if len(got) != want {
			t.Fatalf("%d lines, want %d: %v", len(got), want, got)
		}
		s.waiting = s.waiting[want:]
	}
}

// TestFull: when nobody takes them, lines wait up to a bound; the writer is told at once, and at the end all are counted.
func TestFull(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{streams: map[string][]event{}}
		s, log, end := sink(t, f, "named")
		for range maxWaiting {
			write(t, s, "line")
		}
		if n, err := s.Write([]byte("more\n")); n != 0 || !errors.Is(err, ErrFull) {
			t.Errorf("took %d: %v", n, err)
		}
		time.Sleep(time.Minute)
		end()
		if s.Lost() != maxWaiting {
			t.Errorf("%d lost", s.Lost())
		}
		if text := log.String(); !strings.Contains(text, "aws logs create-log-group --log-group-name vpn, and aws logs create-log-stream") || !strings.Contains(text, "lost=65536") {
			t.Errorf("said %s", text)
		}
	})
}

// TestRefused: what the API takes and drops is lost, and counted.
func TestRefused(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{reject: `,"rejectedLogEventsInfo":{"tooNewLogEventStartIndex":4,"tooOldLogEventEndIndex":1,"expiredLogEventEndIndex":2}`}
		s, log, end := sink(t, f, "named")
		write(t, s, "a", "b", "c", "d", "e", "f")
		end()
		if s.Lost() != 4 || !strings.Contains(log.String(), "lost=4") {
			t.Errorf("%d lost; %s", s.Lost(), log)
		}
	})
}

// TestNeverTaken: entries that the service will never take hold up nobody else's, neither while it runs nor at the end.
func TestNeverTaken(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f, long := &fake{}, strings.Repeat("x", maxEvent+1)
		s, log, end := sink(t, f, "named")
		write(t, s, "a", "b", long, "c", long, "d")
		time.Sleep(10 * time.Second)
		if got := f.messages("named"); got != "a b c d" || s.Lost() != 2 {
			t.Errorf("there are %.100q, lost %d", got, s.Lost())
		}
		write(t, s, long, "e")
		end()
		if got := f.messages("named"); got != "a b c d e" || s.Lost() != 3 {
			t.Errorf("at the end there are %.100q, lost %d", got, s.Lost())
		}
		if n := strings.Count(log.String(), "refuses an entry"); n != 3 || !strings.Contains(log.String(), "Log event too large") {
			t.Errorf("told %d times: %s", n, log)
		}
	})
}

// TestNothingTaken: where everything is refused, it is not asked all the time.
func TestNothingTaken(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{fail: func() { panic(refusal{400, "InvalidParameterException", "no such name"}) }}
		s, _, end := sink(t, f, "named")
		for range 50 {
			write(t, s, "a")
		}
		time.Sleep(10 * time.Minute)
		if calls, _ := f.seen(); len(calls) > 20*7 {
			t.Errorf("%d requests in ten minutes", len(calls))
		}
		end()
	})
}

// TestSilence: an API that does not answer holds up neither writers nor, for longer than it may, the end.
func TestSilence(t *testing.T) {
	keys(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t}
		s, log, end := sink(t, f, "named")
		s.client = nil
		silent, err := Open(t.Context(), Config{Group: "vpn", Stream: "named", Region: "eu-west-1"}, &http.Client{Transport: silence{}}, slog.New(slog.NewTextHandler(log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		s.client = silent.client
		write(t, s, "one", "two")
		time.Sleep(collectTime + time.Second) // the request is under way
		begin := time.Now()
		end()
		if took := time.Since(begin); took > flushTime || s.Lost() != 2 {
			t.Errorf("the end took %v, %d lost", took, s.Lost())
		}
	})
}

type silence struct{}

func (silence) RoundTrip(q *http.Request) (*http.Response, error) {
	<-q.Context().Done()
	return nil, q.Context().Err()
}

// TestOverHTTP: the same over a connection, to an address of the file; and wrong keys are said to be that.
func TestOverHTTP(t *testing.T) {
	keys(t)
	f := &fake{t: t, streams: map[string][]event{"named": nil}}
	server := httptest.NewServer(f)
	defer server.Close()
	run := func() string {
		var log bytes.Buffer
		s, err := Open(t.Context(), Config{Group: "vpn", Stream: "named", Region: "eu-west-1", URL: server.URL}, nil, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, `{"a":"b"}`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // all that waits goes at the end
		s.Run(ctx)
		return log.String()
	}
	if log := run(); log != "" || f.messages("named") != `{"a":"b"}` {
		t.Errorf("%q: %s", f.messages("named"), log)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another")
	if log := run(); !strings.Contains(log, "InvalidSignatureException") || !strings.Contains(log, "aws sts get-caller-identity") {
		t.Errorf("said %s", log)
	}
}

func TestNoRegion(t *testing.T) {
	keys(t)
	if _, err := Open(t.Context(), Config{Group: "vpn"}, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("got %v", err)
	}
}
