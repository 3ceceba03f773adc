package ovpn_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/ovpntest"
	"github.com/adit-vpn/adit/ovpn/wire"
)

// TLS records are what frames messages: one read of openvpn's is one record.
func TestMessagesInRecords(t *testing.T) {
	long := "INFO," + strings.Repeat("x", 5000)
	for _, tc := range []struct {
		name    string
		records []string
		want    []string
	}{
		{"one each", []string{"INFO,one\x00", "INFO,two\x00"}, []string{"INFO,one", "INFO,two"}},
		{"several in one", []string{"INFO,one\x00INFO,two\r\n\x00INFO,th\x01ree\x00"}, []string{"INFO,one", "INFO,two"}},
		{"longer than openvpn reads", []string{long + "\x00"}, []string{long}},
		{"two in one, the second cut off", []string{"INFO,one\x00INFO,tw"}, []string{"INFO,one"}},
		{"half an order", []string{"RESTART,now", "INFO,one\x00"}, []string{"INFO,one"}},
		{"half an order and the rest", []string{"AUTH_FAI", "LED\x00", "INFO,one\x00"}, []string{"LED", "INFO,one"}},
		{"nothing", []string{"\x00", "\x00\x00\x00", "\r\n\x00", "INFO,one\x00"}, []string{"INFO,one"}},
		{"byte by byte", strings.Split("HALT\x00INFO", ""), nil},
	} {
		for _, toServer := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, to server %v", tc.name, toServer), func(t *testing.T) {
				t.Parallel()
				c, s := setup(t)
				p := up(t, c, s, quiet, 1)
				from, to := p.Server, p.Client
				if toServer {
					from, to = to, from
				}
				for _, record := range tc.records {
					if err := from.Session.SendRecord(p.Now, record); err != nil {
						t.Fatal(err)
					}
				}
				p.Run(2*time.Second, nil)
				if got := said(to); !slices.Equal(got, tc.want) || to.Err != nil {
					t.Errorf("got %q, %v", got, to.Err)
				}
			})
		}
	}
}

// Key-method 2 is one record, as long as it fits in one: openvpn reads one and fails on what is missing.
func TestKeyMessageIsOneRecord(t *testing.T) {
	c, s := setup(t)
	c.TLS.MaxVersion = 0x0303 // records that say what they are
	for i := range 10 {
		c.PeerInfo = append(c.PeerInfo, fmt.Sprintf("UV_%d=%s", i, strings.Repeat("x", 150)))
	}
	p := ovpntest.NewPair(t, c, s, quiet, 1)
	var stream []byte
	next := uint32(1)
	p.Watch = func(from *ovpntest.Side, b []byte) {
		if m, err := wire.ParseControl(b); err == nil && from == p.Client && m.Op == wire.ControlV1 && m.ID == next {
			stream, next = append(stream, m.Payload...), next+1
		}
	}
	if !p.Run(50*time.Second, p.Up) {
		t.Fatalf("not up: %v, %v", p.Client.Err, p.Server.Err)
	}
	var data []int // sizes of application data
	for len(stream) >= 5 {
		n := 5 + int(binary.BigEndian.Uint16(stream[3:]))
		if stream[0] == 23 {
			data = append(data, n)
		}
		stream = stream[n:]
	}
	if len(data) == 0 || data[0] < 1800 {
		t.Errorf("records of %v bytes", data)
	}
}
