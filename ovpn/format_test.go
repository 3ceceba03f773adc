package ovpn

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// formatPair returns both ends of a data channel with key 0 in use.
func formatPair(t testing.TB, f dataFormat) (client, server *Data) {
	t.Helper()
	client, server = newData(Client, 7, replayLimit{}), newData(Server, 7, replayLimit{})
	for _, d := range []*Data{client, server} {
		if err := d.install(0, f, testKeys()); err != nil {
			t.Fatal(err)
		}
		d.promote(0)
	}
	return client, server
}

// formats are the formats under test: each cipher, with and without peer id, each framing.
func formats(t testing.TB) (all []dataFormat) {
	t.Helper()
	for _, name := range []string{"AES-256-GCM", "CHACHA20-POLY1305"} {
		all = append(all, dataFormat{cipher: mustCipher(t, name), epoch: true})
		for _, v1 := range []bool{false, true} {
			all = append(all, dataFormat{cipher: mustCipher(t, name), v1: v1})
		}
	}
	for i, name := range []string{"AES-128-CBC", "AES-192-CBC", "AES-256-CBC", "AES-128-CFB", "AES-256-CFB", "AES-256-OFB", "BF-CBC", "DES-EDE3-CBC", "none", "DES-CBC"} {
		digests := []string{"SHA1", "SHA256", "SHA512", "SHA224", "SHA384", "MD5", "none"}
		all = append(all, dataFormat{cipher: mustCipher(t, name), digest: digests[i%len(digests)], v1: i%2 == 1},
			dataFormat{cipher: mustCipher(t, name), digest: digests[(i+1)%len(digests)], v1: i%2 == 0})
	}
	for i, framing := range []string{"lzo-no", "lzo", "stub", "stub-v2", "lz4", "lz4-v2", "migrate", ""} {
		all = append(all, dataFormat{cipher: mustCipher(t, "AES-128-GCM"), compress: framing},
			dataFormat{cipher: mustCipher(t, "AES-256-GCM"), compress: framing, fragment: 300, epoch: i%2 == 0},
			dataFormat{cipher: mustCipher(t, "AES-256-CBC"), digest: "SHA256", compress: framing, fragment: 500, v1: i%2 == 0})
	}
	return all
}

func (f dataFormat) String() string {
	return fmt.Sprintf("%s/%s epoch=%t v1=%t compress=%q fragment=%d", f.cipher.Name, f.digest, f.epoch, f.v1, f.compress, f.fragment)
}

// authentic says whether every bit of a datagram but the head of DATA_V2 is protected.
func (f dataFormat) authentic() bool { return f.cipher.AEAD() || f.digest != "none" }

func TestFormatsRoundTrip(t *testing.T) {
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		for _, d := range [][2]*Data{{client, server}, {server, client}} {
			for n := 1; n < 1600; n += 1 + n/9 {
				p := strings.Repeat(string(rune('a'+n%26)), n)
				datagrams := sealEach(t, d[0], p)
				if f.fragment == 0 && len(datagrams) != 1 {
					t.Fatalf("%v: %d bytes became %d datagrams", f, n, len(datagrams))
				}
				for _, b := range datagrams {
					if head, want := f.head(), len(p)+f.overhead(); len(b) > want || b[0]>>3 != 9 && b[0]>>3 != 6 || (head == 1) != (b[0]>>3 == 6) {
						t.Fatalf("%v: %d bytes became %x… of %d bytes", f, n, b[:8], len(b))
					}
					if f.fragment > 0 && len(b) > f.fragment {
						t.Fatalf("%v: a datagram has %d bytes", f, len(b))
					}
					if !f.v1 && wire.PeerID(b) != 7 {
						t.Fatalf("%v: head %x", f, b[:4])
					}
				}
				got := openEach(d[1], datagrams...)
				if last := got[len(got)-1]; last != p || strings.Join(got, "") != p {
					t.Fatalf("%v: %d bytes became %q", f, n, got)
				}
				if got := openEach(d[1], sealEach(t, d[0], p)[0]); f.fragment == 0 && got[0] != p {
					t.Fatalf("%v: again %q", f, got)
				}
			}
		}
		if c := server.Counters(); c.Dropped != 0 {
			t.Errorf("%v: %+v", f, c)
		}
		if client.sealControl(dataTime, pingPayload()) == nil || openEach(server, client.sealControl(dataTime, pingPayload()))[0] != "" || server.Counters().Dropped != 0 {
			t.Errorf("%v: ping", f)
		}
		if expect(t, f.String()+": exit", openEach(server, client.sealControl(dataTime, exitPayload())), ""); !server.exited() {
			t.Errorf("%v: exit unheard", f)
		}
	}
}

// A packet that begins with the mark of the second generation is escaped.
func TestFormatsEscape(t *testing.T) {
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		for _, p := range []string{"\x50", "\x50\x00", "\x50\x01abc", "\xfa", "\xfb\x66", "\x66\x11\x00\x00", "\x69"} {
			datagrams := sealEach(t, client, p)
			expect(t, fmt.Sprintf("%v: %x", f, p), openEach(server, datagrams...), p)
		}
	}
}

func TestFormatsReplay(t *testing.T) {
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		d := sealEach(t, client, "a", "b", "c")
		again := make([][]byte, len(d)) // opening may decrypt in place
		for i := range d {
			again[i] = bytes.Clone(d[i])
		}
		expect(t, f.String(), openEach(server, d[2], d[0], again[0], again[2], d[1], again[1]), "c", "a", "", "", "b", "")
		if c := server.Counters(); c.Dropped != 3 {
			t.Errorf("%v: dropped %d", f, c.Dropped)
		}
	}
}

// One flipped bit anywhere, one byte missing anywhere: dropped, and nothing is moved by it.
func TestFormatsTamper(t *testing.T) {
	for _, f := range formats(t) {
		if !f.authentic() {
			continue
		}
		client, server := formatPair(t, f)
		d := sealEach(t, client, "a packet of some length")[0]
		head := 0
		if !f.cipher.AEAD() || f.v1 {
			head = f.head() // not authenticated there; the key id is what counts
		}
		for i := range d {
			for bit := range 8 {
				bad := bytes.Clone(d)
				bad[i] ^= 1 << bit
				got := openEach(server, bad)[0]
				if got != "" && i >= head {
					t.Fatalf("%v: bit %d of byte %d changed, and yet delivered %q", f, bit, i, got)
				}
				if got != "" { // the head of a legacy format: start again
					client, server = formatPair(t, f)
					d = sealEach(t, client, "a packet of some length")[0]
				}
			}
		}
		for n := range len(d) {
			short := bytes.Clone(d[:n])
			if got := openEach(server, short[:n:n], bytes.Clone(d[:n])); got[0] != "" || got[1] != "" {
				t.Errorf("%v: cut to %d bytes, and yet delivered", f, n)
			}
		}
		expect(t, f.String(), openEach(server, d), "a packet of some length")
	}
}

func TestFormatsInTrains(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		for range 5 {
			var in [][]byte
			var want []string
			for range 1 + r.IntN(20) {
				want = append(want, strings.Repeat(string(rune('A'+r.IntN(26))), 1+r.IntN(900)))
				in = append(in, []byte(want[len(want)-1]))
			}
			gap := 2 * r.IntN(2)
			train, sizes := client.Seal(dataTime, make([]byte, 0, r.IntN(20000)), gap, list(in), nil)
			var datagrams [][]byte
			for _, n := range sizes {
				datagrams = append(datagrams, train[gap:gap+n])
				train = train[gap+n:]
			}
			var got []string
			for _, p := range openHere(server, datagrams) {
				if p != "" {
					got = append(got, p)
				}
			}
			expect(t, f.String(), got, want...)
		}
	}
}

func TestFormatsAllocateNothing(t *testing.T) {
	for _, f := range formats(t) {
		client, server := formatPair(t, f)
		const batch = 16
		pkts := make([][]byte, batch)
		for i := range pkts {
			pkts[i] = make([]byte, 1400)
		}
		var rest List
		sizes := make([]int, 0, 8*batch)
		train := make([][]byte, 0, 8*batch)
		dst := make([]byte, 0, batch*3000)
		run := func() {
			var buf []byte
			rest = pkts
			buf, sizes = client.Seal(dataTime, dst, 2, &rest, sizes)
			train = train[:0]
			for _, n := range sizes {
				train = append(train, buf[2:2+n])
				buf = buf[2+n:]
			}
			if n, _ := server.Open(dataTime, train); n != batch {
				t.Errorf("%v: delivered %d", f, n)
			}
		}
		for range 4 {
			run() // reassembly takes its buffers
		}
		if allocs := testing.AllocsPerRun(20, run); allocs != 0 {
			t.Errorf("%v: %v allocations per batch", f, allocs)
		}
	}
}

func TestFormatsRefused(t *testing.T) {
	d := newData(Client, 1, replayLimit{})
	for name, f := range map[string]dataFormat{
		"epoch without AEAD":    {cipher: mustCipher(t, "AES-256-CBC"), digest: "SHA1", epoch: true},
		"epoch without peer id": {cipher: mustCipher(t, "AES-256-GCM"), epoch: true, v1: true},
		"unknown digest":        {cipher: mustCipher(t, "AES-256-CBC"), digest: "SHA3"},
		"unknown framing":       {cipher: mustCipher(t, "AES-256-GCM"), compress: "snappy"},
		"tiny fragments":        {cipher: mustCipher(t, "AES-256-CBC"), digest: "SHA512", fragment: 130},
		"no cipher":             {},
	} {
		if err := d.install(0, f, testKeys()); err == nil {
			t.Errorf("%s: installed", name)
		}
	}
}

// Ciphers with 64-bit blocks ask for a new key after 64 MB.
func TestSmallBlocksRenew(t *testing.T) {
	client, server := formatPair(t, dataFormat{cipher: mustCipher(t, "BF-CBC")})
	client.ring.Load().send.send.(*legacySealer).blocks = smallBlockLimit - 1
	server.ring.Load().keys[0].recv.(*legacyOpener).blocks = smallBlockLimit - 1
	openEach(server, sealEach(t, client, "abc")...) // one block: packet id, three bytes, padding
	if client.exhausted() || server.exhausted() {
		t.Error("BF-CBC at its limit, not over it")
	}
	if openEach(server, sealEach(t, client, "abc")...); !client.exhausted() || !server.exhausted() {
		t.Error("BF-CBC beyond 64 MB")
	}
}

// FuzzFormats feeds every format with what an attacker without the key sends, and with what a hostile peer
// with the key encrypts.
func FuzzFormats(f *testing.F) {
	all := formats(f)
	for i := range all {
		f.Add(uint8(i), false, []byte("\x48\x00\x00\x07aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))
		f.Add(uint8(i), true, []byte("\xfb\x00\x00\x01\x66\x11\x00\x00"))
		f.Add(uint8(i), true, []byte("\x00\x18\x04\x02\x69bcdefghijk"))
	}
	f.Fuzz(func(t *testing.T, which uint8, inside bool, b []byte) {
		client, server := formatPair(t, all[int(which)%len(all)])
		datagram := bytes.Clone(b)
		if inside {
			key := client.ring.Load().send
			var ok bool
			if datagram, ok = key.send.seal(make([]byte, 0, len(b)+MaxOverhead+sealSlack), 7, b); !ok {
				t.Fatal("not sealed")
			}
		}
		pkts := [][]byte{datagram}
		if server.Open(dataTime, pkts); len(pkts[0]) > maxInner {
			t.Errorf("a packet of %d bytes", len(pkts[0]))
		}
		if c := server.Counters(); c.RxPackets+c.Dropped > 1 {
			t.Errorf("counts %+v", c)
		}
	})
}
