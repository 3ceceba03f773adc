package ovpn

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/pierrec/lz4/v4"
)

// LZO blocks made by liblzo2 2.10: lzo1x_1_15_compress and lzo1x_999_compress.
var lzoBlocks = []struct{ block, want string }{
	{"0200000000002000000000004810000c000000000000000000000000000000110000", strings.Repeat("\x00", 1400)},
	{"0028474554202f696e6465782e68746d6c20485454502f312e310d0a486f73743a206578616d706c652e636f6d0d0a4163636570743a20746578742f79050dc8020a2d4c616e67756167653a20656e2750000f456e636f64696e673a20677a69700d0a0d0a200000d5b4010b64696e673a20677a69700d0a0d0a110000",
		lzoText},
	{"43474554202f696e6465782e68746d6c20485454502f312e310d0a486f73743a206578616d706c652e636f6d0d0a41636365705102740605742f7805e802062d4c616e677561676541066e275200456e050d640d1667000505677a69700d0a0d0a200000e3b401110000",
		lzoText},
}

var lzoText = strings.Repeat("GET /index.html HTTP/1.1\r\nHost: example.com\r\nAccept: text/html\r\nAccept-Language: en\r\nAccept-Encoding: gzip\r\n\r\n", 8)

func TestLZO(t *testing.T) {
	for _, c := range lzoBlocks {
		block := fromHex(t, c.block)
		out := make([]byte, len(c.want)+10)
		if n, ok := lzoDecompress(out, block); !ok || string(out[:n]) != c.want {
			t.Errorf("%d bytes, %v", n, ok)
		}
		if n, ok := lzoDecompress(out[:len(c.want)], block); !ok || n != len(c.want) {
			t.Errorf("exact room: %d bytes, %v", n, ok)
		}
		for n := range len(c.want) {
			if _, ok := lzoDecompress(out[:n], block); ok {
				t.Fatalf("%d bytes fit into %d", len(c.want), n)
			}
		}
		for n := range len(block) {
			if _, ok := lzoDecompress(out, block[:n]); ok {
				t.Errorf("cut to %d bytes, and yet whole", n)
			}
		}
		if _, ok := lzoDecompress(out, append(block, 0)); ok {
			t.Error("a byte too many, and yet whole")
		}
	}
}

func FuzzLZO(f *testing.F) {
	for _, c := range lzoBlocks {
		f.Add(fromHex(f, c.block), uint16(1500))
	}
	f.Add([]byte{0x11, 0, 0}, uint16(0))
	f.Add([]byte{18, 1, 0x20, 0, 0, 0}, uint16(9))
	f.Fuzz(func(t *testing.T, block []byte, room uint16) {
		out := bytes.Repeat([]byte{0xaa}, int(room)+8)
		n, ok := lzoDecompress(out[:room], block)
		if n > int(room) || !ok && n != 0 || !bytes.Equal(out[room:], bytes.Repeat([]byte{0xaa}, 8)) {
			t.Errorf("%d bytes of %d, %v", n, room, ok)
		}
	})
}

// What a peer that compresses sends is read; what was not agreed on, and bombs, are dropped.
func TestCompressedPackets(t *testing.T) {
	var c lz4.Compressor
	buf := make([]byte, 4096)
	n, err := c.CompressBlock([]byte(lzoText), buf)
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
	block := string(buf[:n])
	lzo := string(fromHex(t, lzoBlocks[1].block))
	zeros := make([]byte, 60000)
	if n, err = c.CompressBlock(zeros, buf); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	bomb := string(buf[:n])
	for _, c := range []struct{ framing, text, want string }{
		{"lzo", "\x66" + lzo, lzoText}, {"lzo-no", "\x66" + lzo, ""}, {"lzo", "\xfaplain", "plain"}, {"lzo", "\x69" + block, ""},
		{"lzo", "\x66", ""}, {"lzo", "\x66\x00\x00\x00", ""}, {"lzo", "plain", ""},
		{"lz4", string([]byte{0x69}) + block[1:] + block[:1], lzoText}, {"stub", string([]byte{0x69}) + block[1:] + block[:1], ""},
		{"lz4", string([]byte{0xfb}) + "lainp", "plain"}, {"stub", string([]byte{0xfb}) + "lainp", "plain"}, {"lz4", "\xfaplain", ""},
		{"lz4", "\x69", ""}, {"lz4", string([]byte{0x69}) + bomb[1:] + bomb[:1], ""},
		{"lz4-v2", "\x50\x01" + block, lzoText}, {"stub-v2", "\x50\x01" + block, ""}, {"lz4-v2", "\x50\x02" + lzo, ""},
		{"lz4-v2", "\x50\x00Pain", "Pain"}, {"lz4-v2", "plain", "plain"}, {"lz4-v2", "\x50", ""}, {"lz4-v2", "\x50\x01", ""}, {"lz4-v2", "\x50\x01" + bomb, ""},
		{"", "\x66" + lzo, "\x66" + lzo},
	} {
		_, server := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-128-GCM"), compress: c.framing, packet: 4096})
		plain, _ := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-128-GCM")})
		expect(t, fmt.Sprintf("%s: %.9q", c.framing, c.text), openEach(server, sealEach(t, plain, c.text)...), c.want)
		if n := server.Counters().Dropped; (n == 1) != (c.want == "") {
			t.Errorf("%s: %.9q: dropped %d", c.framing, c.text, n)
		}
	}
}

func fragment(kind int, sequence uint8, id, size int, text string) []byte {
	b := append(make([]byte, 4), text...)
	putFragment(b, kind, sequence, id, size)
	return b
}

func TestFragments(t *testing.T) {
	const more, last = fragmentMore, fragmentLast
	type step struct {
		b    []byte
		want string
		bad  bool
	}
	for name, steps := range map[string][]step{
		"whole":       {{fragment(0, 0, 0, 0, "packet"), "packet", false}, {fragment(0, 0, 0, 0, ""), "", false}},
		"in order":    {{fragment(more, 9, 0, 4, "abcd"), "", false}, {fragment(more, 9, 1, 4, "efgh"), "", false}, {fragment(last, 9, 2, 4, "i"), "abcdefghi", false}},
		"backwards":   {{fragment(last, 9, 2, 4, "i"), "", false}, {fragment(more, 9, 1, 4, "efgh"), "", false}, {fragment(more, 9, 0, 4, "abcd"), "abcdefghi", false}},
		"repeated":    {{fragment(more, 9, 0, 4, "abcd"), "", false}, {fragment(more, 9, 0, 4, "abcd"), "", false}, {fragment(last, 9, 1, 4, "ef"), "abcdef", false}},
		"interleaved": {{fragment(more, 255, 0, 4, "abcd"), "", false}, {fragment(more, 0, 0, 4, "1234"), "", false}, {fragment(last, 255, 1, 4, "x"), "abcdx", false}, {fragment(last, 0, 1, 4, "y"), "1234y", false}},
		"too old":     {{fragment(more, 9, 0, 4, "abcd"), "", false}, {fragment(more, 34, 0, 4, "1234"), "", false}, {fragment(last, 9, 1, 4, "x"), "", false}},
		"just not":    {{fragment(more, 9, 0, 4, "abcd"), "", false}, {fragment(more, 33, 0, 4, "1234"), "", false}, {fragment(last, 9, 1, 4, "x"), "abcdx", false}},
		"bad":         {{[]byte{1}, "", true}, {fragment(3, 0, 0, 0, "test"), "", true}, {fragment(0, 1, 0, 0, "x"), "", true}, {fragment(more, 1, 0, 4, "abc"), "", true}, {fragment(last, 1, 1, 4, "abcde"), "", true}, {fragment(last, 1, 1, 0, ""), "", true}},
		"after last":  {{fragment(last, 9, 1, 4, "x"), "", false}, {fragment(more, 9, 2, 4, "abcd"), "", true}, {fragment(more, 9, 0, 4, "abcd"), "", false}},
		"two lasts":   {{fragment(last, 9, 2, 4, "x"), "", false}, {fragment(last, 9, 1, 4, "y"), "", true}},
		"later last":  {{fragment(last, 9, 0, 1000, "x"), "x", false}, {fragment(last, 9, 2, 4, "x"), "", false}, {fragment(last, 9, 3, 4, "y"), "", true}},
		"the longest": {{fragment(last, 9, 31, 4*0x3fff, "x"), "", true}},
	} {
		var f fragments
		for i, s := range steps {
			got, ok := f.add(dataTime, s.b, maxInner)
			if string(got) != s.want || ok == s.bad {
				t.Errorf("%s, step %d: %q, %v", name, i, got, ok)
			}
		}
	}
	var f fragments
	f.add(dataTime, fragment(more, 9, 0, 4, "abcd"), maxInner)
	if got, ok := f.add(dataTime.Add(fragmentTime), fragment(last, 9, 1, 4, "x"), maxInner); got != nil || !ok {
		t.Errorf("after ten seconds: %q, %v", got, ok)
	}
}

func TestFragmentsReordered(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	client, server := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-256-GCM"), fragment: 200, compress: "lzo-no"})
	for range 100 {
		var pkts []string
		for range 1 + r.IntN(8) {
			pkts = append(pkts, strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(1500)))
		}
		d := sealEach(t, client, pkts...)
		for i := range d { // neighbours only: the replay window is 64 datagrams
			j := min(i+r.IntN(12), len(d)-1)
			d[i], d[j] = d[j], d[i]
		}
		got := 0
		for _, p := range openEach(server, d...) {
			if p != "" {
				got++
			}
		}
		if got != len(pkts) {
			t.Fatalf("%d of %d packets", got, len(pkts))
		}
	}
	if _, sizes := client.Seal(dataTime, nil, 0, &List{make([]byte, 9000), {1}}, nil); len(sizes) != 1 {
		t.Errorf("a packet for too many fragments: %v", sizes)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add([]byte("\x00\x07\x04\x00\x00\x12abc\x00\x05\x00\x00\x80\x16x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r fragments
		for now := dataTime; len(b) > 2; now = now.Add(time.Second) {
			n := min(int(binary.BigEndian.Uint16(b))%512, len(b)-2)
			if got, ok := r.add(now, b[2:2+n], 1500); len(got) > 1500 || got != nil && !ok {
				t.Fatalf("%d bytes, %v", len(got), ok)
			}
			b = b[2+n:]
		}
	})
}

// The numbers are from openvpn's test_crypto.c, test_mssfix_mtu_calculation, in its TLS mode; the block rounding of its
// static key cases is that of any CBC.
func TestPayload(t *testing.T) {
	gcm := dataFormat{cipher: mustCipher(t, "AES-256-GCM")}
	for n := 900; n <= 1200; n++ {
		if got := gcm.payload(n); got != n-4-4-16 {
			t.Fatalf("%d: %d", n, got)
		}
	}
	// Whatever fits by this arithmetic fits, and one byte more does not.
	for _, f := range formats(t) {
		if f.fragment > 0 {
			continue
		}
		client, _ := formatPair(t, f)
		for size := 400; size < 460; size++ {
			n := client.Payload(size)
			if d := sealEach(t, client, strings.Repeat("x", n))[0]; len(d) > size {
				t.Fatalf("%v: %d bytes make %d, not %d", f, n, len(d), size)
			}
			if d := sealEach(t, client, strings.Repeat("x", n+1))[0]; len(d) <= size {
				t.Fatalf("%v: %d bytes would do in %d, not %d", f, n+1, size, n)
			}
		}
	}
}

// sealedAnswers are the datagrams of what d was asked.
func sealedAnswers(d *Data) (datagrams [][]byte) {
	for _, m := range d.answers(func() string { return "V4" }) {
		datagrams = append(datagrams, d.sealMessage(dataTime, m)...)
	}
	return datagrams
}

// openvpn's --mtu-test: a peer asks for large datagrams, and what came through.
func TestMTUTest(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 64)
	openEach(server, sealEach(t, client, strings.Repeat("x", 1000))...)
	ask := func(b ...byte) [][]byte {
		openEach(server, client.sealControl(dataTime, append([]byte(occMagic), b...)))
		return sealedAnswers(server)
	}
	for size, want := range map[int]int{1400: 1400, 100: 100, 65535: maxLoad, 10: 41} {
		if d := ask(occLoadRequest, byte(size>>8), byte(size)); len(d) != 1 || len(d[0]) != want || !awake(server) {
			t.Errorf("asked for %d bytes, got %d datagrams", size, len(d))
		} else {
			expect(t, "load", openEach(client, d[0]), "")
			if got := <-client.Loads(); got != want {
				t.Errorf("asked for %d bytes, a load of %d is said to have come", size, got)
			}
		}
	}
	d := ask(occMTURequest)
	plain, ok := client.ring.Load().keys[0].recv.open(d[0], new([]byte))
	if want := occPayload(occMTUReply, 1024>>8, 1024&255, maxLoad>>8, maxLoad&255); !ok || !bytes.Equal(plain, want) {
		t.Errorf("answer %x, want %x", plain, want)
	}
	d = ask(occRequest)
	if plain, ok = client.ring.Load().keys[0].recv.open(d[0], new([]byte)); !ok || string(plain) != occMagic+"\x01V4\x00" {
		t.Errorf("options %q", plain)
	}
	if d := ask(occLoadRequest, 1); d != nil {
		t.Error("answered half a request")
	}
	if d := ask(9); d != nil {
		t.Error("answered what is not asked")
	}
}

// LoadRequest is as long as what it asks for, in every format.
func TestLoadRequest(t *testing.T) {
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		for _, size := range []int{200, 1001, 1464} {
			ask := client.LoadRequest(dataTime, size, size)
			if f.fragment > 0 {
				if ask != nil {
					t.Errorf("%v: a test of the path with fragments", f)
				}
				continue
			}
			expect(t, "request", openEach(server, ask), "")
			answers := sealedAnswers(server)
			if len(ask) > size || len(ask) <= size-20 || len(answers) != 1 || len(answers[0]) > size || len(answers[0]) <= size-20 {
				t.Fatalf("%v: %d bytes ask for %d, %d answers", f, len(ask), size, len(answers))
			}
			expect(t, "load", openEach(client, answers[0]), "")
			if got := <-client.Loads(); got != len(answers[0]) {
				t.Errorf("%v: %d bytes came, not %d", f, len(answers[0]), got)
			}
		}
		for range 10 { // nobody listens
			openEach(client, server.sealControl(dataTime, occPayload(occLoad)))
		}
		if client.LoadRequest(dataTime, 30, 30) != nil || client.LoadRequest(dataTime, maxLoad+1, 100) != nil {
			t.Errorf("%v: a request of an impossible size", f)
		}
	}
	if newData(Client, 0, replayLimit{packets: 64}).LoadRequest(dataTime, 1000, 1000) != nil {
		t.Error("a request without a key")
	}
}
