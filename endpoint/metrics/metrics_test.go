package metrics

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/endpoint"
)

type source endpoint.Metrics

func (s source) Metrics() endpoint.Metrics { return endpoint.Metrics(s) }

var now = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

// two are endpoints with a different figure in each place.
func two() []Source {
	end := func(days int) time.Time { return now.Add(time.Duration(days) * 24 * time.Hour) }
	return []Source{
		source{Endpoint: "cvpn-endpoint-1", Active: 1, AuthenticationFailures: 2, RxBytes: 3, TxBytes: 1 << 60, RxPackets: 5, TxPackets: 6,
			HandlerTimeouts: 7, HandlerInvalid: 8, HandlerOther: 9, HandlerThrottled: 10, HandlerDenied: 11, HandlerService: 12, LogLost: 13,
			Expiries: []endpoint.Expiry{{Kind: endpoint.ExpiryServer, Name: "se\"r\xffver", End: end(30)}, {Kind: endpoint.ExpiryCA, Name: "CA", End: end(-1)}, {Kind: endpoint.ExpiryCRL, End: end(180)}}},
		source{Endpoint: "cvpn-endpoint-2"},
	}
}

func ask(t *testing.T, h http.Handler, method, path, host string) (int, string) {
	t.Helper()
	q := httptest.NewRequest(method, path, nil)
	q.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, q)
	return w.Code, w.Body.String()
}

func handler(local bool) http.Handler {
	return Handler(two, func() time.Time { return now }, slog.New(slog.DiscardHandler), local)
}

func TestFigures(t *testing.T) {
	code, text := ask(t, handler(true), http.MethodGet, "/metrics", "127.0.0.1:9180")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	for _, want := range []string{
		`adit_endpoint_active_connections{endpoint="cvpn-endpoint-1"} 1`,
		`adit_endpoint_authentication_failures_total{endpoint="cvpn-endpoint-1"} 2`,
		`adit_endpoint_ingress_bytes_total{endpoint="cvpn-endpoint-1"} 3`,
		`adit_endpoint_egress_bytes_total{endpoint="cvpn-endpoint-1"} 1.152921504606847e+18`,
		`adit_endpoint_ingress_packets_total{endpoint="cvpn-endpoint-1"} 5`,
		`adit_endpoint_egress_packets_total{endpoint="cvpn-endpoint-1"} 6`,
		`adit_endpoint_connect_handler_timeouts_total{endpoint="cvpn-endpoint-1"} 7`,
		`adit_endpoint_connect_handler_invalid_responses_total{endpoint="cvpn-endpoint-1"} 8`,
		`adit_endpoint_connect_handler_other_execution_errors_total{endpoint="cvpn-endpoint-1"} 9`,
		`adit_endpoint_connect_handler_throttling_errors_total{endpoint="cvpn-endpoint-1"} 10`,
		`adit_endpoint_connect_handler_denied_connections_total{endpoint="cvpn-endpoint-1"} 11`,
		`adit_endpoint_connect_handler_failed_service_errors_total{endpoint="cvpn-endpoint-1"} 12`,
		`adit_endpoint_connection_log_lost_total{endpoint="cvpn-endpoint-1"} 13`,
		`adit_endpoint_certificate_days_to_expiry{endpoint="cvpn-endpoint-1",kind="server",name="se\"r?ver"} 30`,
		`adit_endpoint_certificate_days_to_expiry{endpoint="cvpn-endpoint-1",kind="ca",name="CA"} -1`,
		`adit_endpoint_crl_days_to_expiry{endpoint="cvpn-endpoint-1"} 180`,
		`adit_endpoint_active_connections{endpoint="cvpn-endpoint-2"} 0`,
		"# TYPE adit_endpoint_active_connections gauge",
		"# TYPE adit_endpoint_egress_bytes_total counter",
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	// Each is in the documentation.
	page, err := os.ReadFile("../../docs/endpoint.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE adit_endpoint_(\S+)`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(string(page), "`"+m[1]+"`") {
			t.Errorf("docs/endpoint.md does not name %s", m[1])
		}
	}
}

// TestRefusals: nothing but /metrics, for nobody who came by another name.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		method, path, host string
		local              bool
		want               int
	}{
		{"GET", "/metrics", "localhost:9180", true, 200},
		{"GET", "/metrics", "[::1]:9180", true, 200},
		{"GET", "/metrics", "[::1]", true, 200},
		{"HEAD", "/metrics", "127.0.0.1", true, 200},
		{"GET", "/metrics", "evil.example:9180", true, 421},
		{"GET", "/metrics", "192.0.2.1:9180", true, 421},
		{"GET", "/metrics", "", true, 421},
		{"GET", "/metrics", "endpoint.example:9180", false, 200},
		{"POST", "/metrics", "127.0.0.1", true, 405},
		{"GET", "/", "127.0.0.1", true, 404},
		{"GET", "/metrics/x", "127.0.0.1", true, 404},
		{"GET", "/debug/pprof/", "127.0.0.1", true, 404},
	} {
		if code, _ := ask(t, handler(tt.local), tt.method, tt.path, tt.host); code != tt.want {
			t.Errorf("%s %s at %q, local %v: %d, want %d", tt.method, tt.path, tt.host, tt.local, code, tt.want)
		}
	}
}

func TestServe(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, ln, handler(true), slog.New(slog.DiscardHandler)) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	res, err := client.Get("http://" + ln.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !strings.Contains(string(text), "adit_endpoint_active_connections") {
		t.Errorf("%v: %s", err, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := client.Get("http://" + ln.Addr().String() + "/metrics"); err == nil {
		t.Error("it still answers")
	}
}
