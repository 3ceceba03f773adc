package ovpn

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/pierrec/lz4/v4"
)

// A few bytes of a peer must not become many: what decompression and fragments make
// of them is no longer than a packet of the tunnel.
func TestExpansionIsBounded(t *testing.T) {
	const limit = 1600
	zeros := func(n int) (block string) {
		var c lz4.Compressor
		buf := make([]byte, 4096)
		k, err := c.CompressBlock(make([]byte, n), buf)
		if err != nil || k == 0 {
			t.Fatal(k, err)
		}
		return string(buf[:k])
	}
	// LZO: one zero, and a match of it.
	lzo := func(n int) string {
		n -= 1 + 33 // the literal; a match of 2+31, and what is added to it
		return "\x12\x00\x20" + strings.Repeat("\x00", n/255) + string([]byte{byte(n % 255), 0, 0}) + "\x11\x00\x00"
	}
	for _, c := range []struct {
		framing string
		make    func(n int) string
	}{
		{"lzo", func(n int) string { return "\x66" + lzo(n) }},
		{"lz4-v2", func(n int) string { return "\x50\x01" + zeros(n) }},
	} {
		plain, _ := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-128-GCM")})
		_, server := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-128-GCM"), compress: c.framing, packet: limit})
		expect(t, c.framing, openEach(server, sealEach(t, plain, c.make(limit), c.make(limit+1), c.make(2*limit))...),
			strings.Repeat("\x00", limit), "", "")
	}

	client, server := formatPair(t, dataFormat{cipher: mustCipher(t, "AES-128-GCM"), fragment: 300, compress: "lzo-no", packet: limit})
	for n, want := range map[int]int{limit: limit, limit + 10: 0, 2 * limit: 0} {
		got := strings.Join(openEach(server, sealEach(t, client, strings.Repeat("x", n))...), "")
		if len(got) != want {
			t.Errorf("fragments of %d bytes became %d", n, len(got))
		}
	}
	// Every place with an incomplete packet that is as long as can be.
	f := &server.opening.fragments
	for sequence := range 256 {
		f.add(dataTime, fragment(fragmentMore, uint8(sequence), 0, 4, "abcd"), limit)
		for _, size := range []int{limit / 2, 0x3fff * 4} {
			f.add(dataTime, fragment(fragmentLast, uint8(sequence), 31, size, "x"), limit)
			f.add(dataTime, fragment(fragmentLast, uint8(sequence), 1, size, strings.Repeat("x", limit/2)), limit)
		}
	}
	held := 0
	for i := range f.slots {
		held += cap(f.slots[i].buf)
	}
	if most := len(f.slots) * 2048; held > most || held < most/2 {
		t.Errorf("incomplete packets hold %d bytes, and may %d", held, most)
	}

	s := &Session{cfg: Config{MTU: 1500}}
	if s.setFormat(mustCipher(t, "AES-128-GCM"), false, false, "lz4"); s.format.packet != 1600 {
		t.Errorf("a session bounds packets at %d", s.format.packet)
	}
	s.cfg.MTU = 9000
	if s.setFormat(mustCipher(t, "AES-128-GCM"), false, false, "lz4"); s.format.packet != 9000 {
		t.Errorf("with an MTU of 9000 a session bounds packets at %d", s.format.packet)
	}
}

// Two last pieces of one packet would leave a hole between them, with whatever an
// earlier packet had there.
func TestFragmentsLeaveNoHoles(t *testing.T) {
	var f fragments
	f.add(dataTime, fragment(fragmentMore, 9, 0, 8, "TOP SECR"), 1500)
	if got, _ := f.add(dataTime, fragment(fragmentLast, 9, 1, 8, "ET"), 1500); string(got) != "TOP SECRET" {
		t.Fatalf("%q", got)
	}
	for _, first := range []int{1, 2} {
		f.add(dataTime, fragment(fragmentLast, 9, first, 8, "x"), 1500)
		f.add(dataTime, fragment(fragmentLast, 9, first+1, 8, "y"), 1500)
		for id := range first {
			if got, _ := f.add(dataTime, fragment(fragmentMore, 9, id, 8, "01234567"), 1500); got != nil {
				t.Errorf("two last pieces became %q", got)
			}
		}
	}
}

// VORACLE: when what is sent gets shorter with what it repeats, an attacker who can add to it can
// guess the rest. Peers may compress for us; we never do, whatever framing was agreed on.
func TestVORACLENothingIsCompressed(t *testing.T) {
	for _, f := range formats(t) {
		client, _ := formatPair(t, f)
		lengths := func(p string) (sum int) {
			for _, d := range sealEach(t, client, p) {
				sum += len(d)
			}
			return sum
		}
		noise := make([]byte, 1200)
		rand.Read(noise)
		if a, b := lengths("\x45"+strings.Repeat("\x00", 1200)), lengths("\x45"+string(noise)); a != b {
			t.Errorf("%v: %d bytes for zeros, %d for noise", f, a, b)
		}
	}
}

// SWEET32: ciphers with blocks of 64 bits are not offered, and one that a caller insists on asks
// for a new key after 64 MB (TestSmallBlocksRenew).
func TestCVE_2016_6329_NoSmallBlocksByDefault(t *testing.T) {
	for _, name := range DefaultCiphers() {
		if c := mustCipher(t, name); c.Insecure || !c.AEAD() {
			t.Errorf("%s is offered by default", name)
		}
	}
	for _, name := range []string{"BF-CBC", "DES-EDE3-CBC", "DES-CBC"} {
		if c := mustCipher(t, name); !c.Insecure || c.limit == 0 || c.limit*uint64(c.block) > 64<<20 {
			t.Errorf("%s: insecure %v, limit %d blocks", name, c.Insecure, c.limit)
		}
	}
}
