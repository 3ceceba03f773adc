// Package metrics serves the figures of endpoints to Prometheus, under names of its own with the meanings of AWS Client VPN's
// CloudWatch metrics. Nothing is counted here: the endpoints are asked when somebody asks.
//
// Serve starts one goroutine for each connection, of which there are few, and waits for all.
package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/adit-vpn/adit/endpoint"
)

// Source is one endpoint: an *endpoint.Server.
type Source interface{ Metrics() endpoint.Metrics }

// Bounds of the server.
const (
	maxConns    = 16
	maxAnswers  = 4 // at the same time
	answerTime  = 10 * time.Second
	idleTime    = 2 * time.Minute // more than the minute between two questions
	maxHeader   = 16 << 10
	goodbyeTime = time.Second
)

// figure is one metric: what it is called, and its value in an endpoint's Metrics.
type figure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(m *endpoint.Metrics) float64
}

func gauge(name, help string, of func(m *endpoint.Metrics) float64) figure {
	return figure{prometheus.NewDesc("adit_endpoint_"+name, help, []string{"endpoint"}, nil), prometheus.GaugeValue, of}
}

func counter(name, help string, of func(m *endpoint.Metrics) uint64) figure {
	f := gauge(name, help, func(m *endpoint.Metrics) float64 { return float64(of(m)) })
	f.kind = prometheus.CounterValue
	return f
}

func figures() []figure {
	return []figure{
		gauge("active_connections", "Clients that are connected (ActiveConnectionsCount).",
			func(m *endpoint.Metrics) float64 { return float64(m.Active) }),
		counter("authentication_failures_total", "Certificates, passwords, codes, assertions and tokens that did not pass (AuthenticationFailures).",
			func(m *endpoint.Metrics) uint64 { return m.AuthenticationFailures }),
		counter("ingress_bytes_total", "Bytes inside from clients (IngressBytes).", func(m *endpoint.Metrics) uint64 { return m.RxBytes }),
		counter("egress_bytes_total", "Bytes inside to clients (EgressBytes).", func(m *endpoint.Metrics) uint64 { return m.TxBytes }),
		counter("ingress_packets_total", "Packets inside from clients (IngressPackets).", func(m *endpoint.Metrics) uint64 { return m.RxPackets }),
		counter("egress_packets_total", "Packets inside to clients (EgressPackets).", func(m *endpoint.Metrics) uint64 { return m.TxPackets }),
		counter("connect_handler_timeouts_total", "Clients denied because the connect handler did not answer in time (ClientConnectHandlerTimeouts).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerTimeouts }),
		counter("connect_handler_invalid_responses_total", "Clients denied because its answer was not well formed (ClientConnectHandlerInvalidResponses).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerInvalid }),
		counter("connect_handler_other_execution_errors_total", "Clients denied because it failed (ClientConnectHandlerOtherExecutionErrors).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerOther }),
		counter("connect_handler_throttling_errors_total", "Clients denied because too many run (ClientConnectHandlerThrottlingErrors).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerThrottled }),
		counter("connect_handler_denied_connections_total", "Clients that it denied (ClientConnectHandlerDeniedConnections).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerDenied }),
		counter("connect_handler_failed_service_errors_total", "Clients denied because its server failed (ClientConnectHandlerFailedServiceErrors).",
			func(m *endpoint.Metrics) uint64 { return m.HandlerService }),
		counter("connection_log_lost_total", "Entries of the connection log that are lost.", func(m *endpoint.Metrics) uint64 { return m.LogLost }),
	}
}

// collector asks the endpoints. Safe for concurrent use.
type collector struct {
	sources    func() []Source
	now        func() time.Time
	figures    []figure
	crl, certs *prometheus.Desc
}

func newCollector(sources func() []Source, now func() time.Time) *collector {
	c := &collector{sources: sources, now: now, figures: figures(),
		crl: prometheus.NewDesc("adit_endpoint_crl_days_to_expiry",
			"Days until the revocation list expires, and all clients with certificates are refused (CrlDaysToExpiry).", []string{"endpoint"}, nil),
		certs: prometheus.NewDesc("adit_endpoint_certificate_days_to_expiry",
			"Days until a certificate expires: of the server, of a CA (ca), of the identity provider (idp).", []string{"endpoint", "kind", "name"}, nil),
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, f := range c.figures {
		to <- f.desc
	}
	to <- c.crl
	to <- c.certs
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.sources() {
		m := s.Metrics()
		for _, f := range c.figures {
			to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.of(&m), m.Endpoint)
		}
		for _, e := range m.Expiries {
			days := e.End.Sub(c.now()).Hours() / 24
			if e.Kind == endpoint.ExpiryCRL {
				to <- prometheus.MustNewConstMetric(c.crl, prometheus.GaugeValue, days, m.Endpoint)
				continue
			}
			to <- prometheus.MustNewConstMetric(c.certs, prometheus.GaugeValue, days, m.Endpoint, e.Kind, strings.ToValidUTF8(e.Name, "?"))
		}
	}
}

// Handler answers GET and HEAD of /metrics, for the endpoints that sources lists at the time. local says that it is for this
// machine alone: then a Host that is no address of it is refused, so that no web page can read it by a name of its own.
func Handler(sources func() []Source, now func() time.Time, log *slog.Logger, local bool) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(sources, now))
	answer := promhttp.HandlerFor(r, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError), ErrorHandling: promhttp.HTTPErrorOnError,
		MaxRequestsInFlight: maxAnswers, Timeout: answerTime,
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, q *http.Request) { // HEAD, too
		if local && !ofThisMachine(q.Host) {
			http.Error(w, "ask 127.0.0.1, [::1] or localhost", http.StatusMisdirectedRequest)
			return
		}
		answer.ServeHTTP(w, q)
	})
	return mux
}

// ofThisMachine says whether a Host header names a loopback address, or localhost.
func ofThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost")
}

// Serve answers on ln until ctx ends, and closes it.
func Serve(ctx context.Context, ln net.Listener, h http.Handler, log *slog.Logger) error {
	srv := &http.Server{Handler: h, ReadTimeout: answerTime, WriteTimeout: 2 * answerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
		defer cancel()
		if srv.Shutdown(late) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(netutil.LimitListener(ln, maxConns))
	if !stop() {
		<-done
	}
	srv.Close()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}
