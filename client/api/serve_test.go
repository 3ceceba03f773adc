package api

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// asked is a Viewer that nobody may ask any more.
type asked struct {
	Viewer
	t *testing.T
}

func (a asked) Version() Version {
	a.t.Error("a handler ran after Serve")
	return Version{}
}

// TestNothingAfterServe: a request that was read before the end, and whose handler begins only then, does not reach the service.
func TestNothingAfterServe(t *testing.T) {
	s := NewViewServer(asked{t: t}, slog.New(slog.DiscardHandler))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Serve(ctx, l); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v1/version", nil)
	s.handler().ServeHTTP(w, r.WithContext(withCaller(r.Context(), func() (Caller, bool) { return Caller{Account: "0", Root: true}, true })))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("%d: %s", w.Code, w.Body)
	}
}
