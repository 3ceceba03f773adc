package probe

import (
	"testing"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

func FuzzEchoReply(f *testing.F) {
	token := []byte("0123456789abcdef")
	for _, typ := range []icmp.Type{ipv4.ICMPTypeEchoReply, ipv4.ICMPTypeEcho, ipv6.ICMPTypeEchoReply} {
		b, err := (&icmp.Message{Type: typ, Body: &icmp.Echo{Seq: 2, Data: token}}).Marshal(nil)
		if err != nil {
			f.Fatal(err)
		}
		seq, ok := echoReply(b, typ.Protocol() == 1, token)
		if want := typ != ipv4.ICMPTypeEcho; ok != want || ok && seq != 2 {
			f.Fatalf("%v: %d %v", typ, seq, ok)
		}
		if _, ok := echoReply(b, typ.Protocol() == 1, []byte("another's")); ok {
			f.Fatalf("%v: another's token is taken", typ)
		}
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, four bool) {
		if seq, ok := echoReply(b, four, token); ok && (seq < 0 || seq > 0xffff || len(b) < 8+len(token)) {
			t.Fatalf("%x is a reply with number %d", b, seq)
		}
	})
}
