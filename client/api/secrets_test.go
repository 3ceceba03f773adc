//go:build linux || darwin

package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/push"
)

// TestSecretsTravel: requests carry them whole, whatever bytes they have, and show them nowhere else.
func TestSecretsTravel(t *testing.T) {
	const secret = "p\"ä<&>\\ \u2028sesame"
	f := &fake{}
	socket, _ := serve(t, api.NewServer(f, everybody, slog.New(slog.DiscardHandler)))
	c := api.NewClient(socket)
	defer c.Close()
	connect := api.ConnectRequest{Profile: "work", Timeout: time.Second, Username: "ann", Password: secret, OTP: secret + "1"}
	answer := api.Answer{Profile: "work", ID: "q", Username: "ann", Password: secret, Response: push.Secret(strings.Repeat("+/=a", 64<<10)), Cancel: true}
	for _, r := range []struct {
		name string
		sent any
		send func() error
	}{
		{"Connect", connect, func() error { return c.Connect(t.Context(), connect) }},
		{"Answer", answer, func() error { return c.Answer(t.Context(), answer) }},
	} {
		if err := r.send(); err != nil {
			t.Fatal(r.name, err)
		}
		if got := f.last(); len(got) != 2 || got[0] != r.name || !reflect.DeepEqual(got[1], r.sent) {
			t.Errorf("%s: what arrived is not what was sent", r.name)
		}
		text, _ := json.Marshal(r.sent)
		for _, shown := range []string{fmt.Sprintf("%v %+v %#v %q", r.sent, r.sent, r.sent, r.sent), string(text)} {
			if strings.Contains(shown, "sesame") || strings.Contains(shown, "+/=a") {
				t.Errorf("%s shows its secrets: %.200s", r.name, shown)
			}
		}
	}
}
