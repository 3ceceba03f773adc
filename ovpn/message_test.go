package ovpn

import (
	"slices"
	"testing"
	"time"
)

// The TEMP cases are those of openvpn's test_misc.c.
func TestParseAuthFailed(t *testing.T) {
	for text, want := range map[string]AuthFailed{
		"":                           {},
		"wrong":                      {Reason: "wrong"},
		"TEMPORARY":                  {Reason: "TEMPORARY"},
		"SESSION:late":               {Kind: SessionExpired, Reason: "late"},
		"SESSION":                    {Reason: "SESSION"},
		"CRV1:R,E:id:dXNlcg==:code?": {Kind: Challenge, Reason: "CRV1:R,E:id:dXNlcg==:code?"},
		"TEMP":                       {Kind: Temporary},
		"TEMP:There are no flags here [really not]":        {Kind: Temporary, Reason: "There are no flags here [really not]"},
		"TEMP[backoff 42,advance no]":                      {Kind: Temporary, Backoff: 42 * time.Second, Advance: "no"},
		"TEMP[advance remote,backoff 77]:go round":         {Kind: Temporary, Backoff: 77 * time.Second, Advance: "remote", Reason: "go round"},
		"TEMP[backoff -1,advance nowhere,x]:y":             {Kind: Temporary, Reason: "y"},
		"TEMP[backoff 99999999999999999999,advance addr]":  {Kind: Temporary, Advance: "addr"},
		"TEMP[backoff 9999999999,advance addr]:tomorrow":   {Kind: Temporary, Backoff: 24 * time.Hour, Advance: "addr", Reason: "tomorrow"},
		"TEMP[unfinished":                                  {Kind: Temporary, Reason: "[unfinished"},
		"Data channel cipher negotiation failed (no x) ] ": {Reason: "Data channel cipher negotiation failed (no x) ] "},
	} {
		if got := parseAuthFailed(text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// The text is that of openvpn's test_pkt.c, test_extract_control_message.
func TestMessagesOfOneRecord(t *testing.T) {
	s := &Session{data: newData(Client, 0, replayLimit{})}
	k := &key{peer: &keyMessage{}}
	s.keys = []*key{k}
	if err := s.record(k, []byte("valid control message\r\n\x00\x00Invalid\r\none\x00valid one again\x00")); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range s.events {
		if m, ok := ev.(Message); ok {
			got = append(got, m.Text)
		}
	}
	if want := []string{"valid control message", "valid one again"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestParseExit(t *testing.T) {
	for text, want := range map[string]PeerExit{
		"":              {},
		"maintenance":   {Reason: "maintenance"},
		"[P]:later":     {Reason: "later", KeepCredentials: true},
		"[P,N]later":    {Reason: "later", KeepCredentials: true, NextRemote: true},
		"[N]":           {NextRemote: true},
		"[]x":           {Reason: "x"},
		"]x":            {Reason: "]x"},
		"PN [P] in it]": {Reason: "PN [P] in it]"},
		"[P unfinished": {Reason: "[P unfinished"},
	} {
		want.Kind = "restart"
		if got := parseExit("restart", text); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func FuzzParseMessages(f *testing.F) {
	f.Add("TEMP[backoff 42,advance no]:x")
	f.Add("[P,N]x")
	f.Fuzz(func(t *testing.T, text string) {
		if got := parseAuthFailed(text); len(got.Reason) > len(text) || got.Backoff < 0 || got.Backoff > 24*time.Hour {
			t.Errorf("%+v", got)
		}
		if got := parseExit("halt", text); len(got.Reason) > len(text) {
			t.Errorf("%+v", got)
		}
	})
}
