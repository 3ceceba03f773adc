package ovpn

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

var dataTime = time.Unix(1_700_000_000, 0)

// testKeys is the key of openvpn's test_ssl.c (create_key): 32 characters,
// repeated, each byte XORed with its position.
func testKeys() *keyMaterial {
	const pattern = "abcdefgh01234567ABCDEFGHjkuchenl"
	var km keyMaterial
	for i := range km {
		km[i] = pattern[i%len(pattern)] ^ byte(i)
	}
	return &km
}

var cipherNames = []string{"AES-256-GCM", "AES-192-GCM", "AES-128-GCM", "CHACHA20-POLY1305"}

func mustCipher(t testing.TB, name string) Cipher {
	t.Helper()
	c, ok := LookupCipher(name)
	if !ok {
		t.Fatalf("no cipher %s", name)
	}
	return c
}

// newPair returns both ends of a data channel with key 0 in use.
func newPair(t testing.TB, name string, window int) (client, server *Data) {
	t.Helper()
	client = newData(Client, 7, replayLimit{packets: window})
	server = newData(Server, 7, replayLimit{packets: window})
	for _, d := range []*Data{client, server} {
		mustInstall(t, d, 0, name, testKeys())
		d.promote(0)
	}
	return client, server
}

func mustInstall(t testing.TB, d *Data, id uint8, name string, km *keyMaterial) {
	t.Helper()
	if err := d.install(id, dataFormat{cipher: mustCipher(t, name)}, km); err != nil {
		t.Fatal(err)
	}
}

func list(pkts [][]byte) *List {
	l := List(pkts)
	return &l
}

// sealEach seals packets into separate datagrams.
func sealEach(t testing.TB, d *Data, pkts ...string) [][]byte {
	t.Helper()
	var in [][]byte
	for _, p := range pkts {
		in = append(in, []byte(p))
	}
	buf, sizes := d.Seal(dataTime, nil, 0, list(in), nil)
	if len(sizes) < len(in) {
		t.Fatalf("sealed %d of %d", len(sizes), len(in))
	}
	var out [][]byte
	for _, size := range sizes {
		out = append(out, bytes.Clone(buf[:size]))
		buf = buf[size:]
	}
	return out
}

// openEach opens copies of datagrams, with as much capacity behind them, and returns what was
// delivered, "" for the rest.
func openEach(d *Data, datagrams ...[]byte) []string {
	pkts := make([][]byte, len(datagrams))
	for i, b := range datagrams {
		pkts[i] = append(make([]byte, 0, cap(b)), b...)
	}
	return openHere(d, pkts)
}

// openHere opens datagrams where they are.
func openHere(d *Data, pkts [][]byte) []string {
	n, _ := d.Open(dataTime, pkts)
	got := make([]string, len(pkts))
	for i, p := range pkts {
		got[i] = string(p)
		if p != nil {
			n--
		}
	}
	if n != 0 {
		panic("Open's result is not the number of packets")
	}
	return got
}

func expect(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestLookupCipher(t *testing.T) {
	for _, c := range []struct {
		in, name string
		size     int
	}{
		{"AES-256-GCM", "AES-256-GCM", 32}, {"aes-256-gcm", "AES-256-GCM", 32}, {"AES-192-gcm", "AES-192-GCM", 24},
		{"AES-128-GCM", "AES-128-GCM", 16}, {"ChaCha20-Poly1305", "CHACHA20-POLY1305", 32},
		{"aes-256-cbc", "AES-256-CBC", 32}, {"AES-192-CBC", "AES-192-CBC", 24}, {"AES-128-CFB", "AES-128-CFB", 16},
		{"AES-256-OFB", "AES-256-OFB", 32}, {"bf-cbc", "BF-CBC", 16}, {"DES-EDE3-CBC", "DES-EDE3-CBC", 24}, {"DES-CBC", "DES-CBC", 8}, {"None", "none", 0},
	} {
		got, ok := LookupCipher(c.in)
		if !ok || got.Name != c.name || got.KeySize != c.size {
			t.Errorf("%s: got %q with %d bytes, %v", c.in, got.Name, got.KeySize, ok)
		}
	}
	for _, name := range []string{"", "AES-256-CTR", "AES-512-CBC", "AES-256", "DES-EDE-CBC", " AES-256-GCM"} {
		if c, ok := LookupCipher(name); ok || c.Name != "" {
			t.Errorf("%q is not a cipher of ours", name)
		}
	}
	for _, name := range DefaultCiphers() {
		if c := mustCipher(t, name); c.Insecure || !c.AEAD() {
			t.Errorf("%s is offered by default", name)
		}
	}
	for name, broken := range map[string]bool{"none": false, "BF-CBC": true, "DES-EDE3-CBC": true, "DES-CBC": true} {
		if c := mustCipher(t, name); !c.Insecure || c.Broken() != broken {
			t.Errorf("%s: insecure %t, broken %t", name, c.Insecure, c.Broken())
		}
	}
	if mustCipher(t, "AES-256-CBC").Broken() {
		t.Error("AES-256-CBC is called broken")
	}
}

// The numbers are from openvpn's test_ssl.c, test_data_channel_known_vectors; the
// opcode there is not DATA_V2's, so this goes below Data.
func TestKnownVector(t *testing.T) {
	const plain = "The quick little fox jumps over the bureaucratic hurdles"
	format := dataFormat{cipher: mustCipher(t, "AES-256-GCM")}
	key, err := newDataKey(0, format, testKeys(), Client, replayLimit{})
	if err != nil {
		t.Fatal(err)
	}
	key.send.(*aeadSealer).head = 0x07 << 24
	datagram, ok := key.send.seal(make([]byte, 0, 200), 0x17, []byte(plain))
	if !ok {
		t.Fatal("not sealed")
	}
	if got := hex.EncodeToString(datagram[:bodyAt]); got != "07000017"+"00000001"+"1fdd908f0e9dc25e79d832020d58e73f" {
		t.Errorf("head, packet id and tag %s", got)
	}
	if got := hex.EncodeToString(datagram[bodyAt+10 : bodyAt+16]); got != "a82e6b1706d9" {
		t.Errorf("ciphertext at 10: %s", got)
	}

	peer, err := newDataKey(0, format, testKeys(), Server, replayLimit{})
	if err != nil {
		t.Fatal(err)
	}
	var scratch []byte
	got, ok := peer.recv.open(datagram, &scratch)
	if !ok || string(got) != plain {
		t.Errorf("opened %q, %v", got, ok)
	}
}

func TestDataRoundTrip(t *testing.T) {
	for _, name := range cipherNames {
		t.Run(name, func(t *testing.T) {
			client, server := newPair(t, name, 64)
			for _, d := range [][2]*Data{{client, server}, {server, client}} {
				var want []string
				for n := 1; n < 1500; n += 97 {
					want = append(want, strings.Repeat("p", n))
				}
				datagrams := sealEach(t, d[0], want...)
				for i, b := range datagrams {
					if len(b) != len(want[i])+d[0].Overhead() || b[0] != 9<<3 || wire.PeerID(b) != 7 || b[7] != byte(i+1) {
						t.Fatalf("datagram %d is %x…, %d bytes", i, b[:8], len(b))
					}
				}
				expect(t, "delivered", openEach(d[1], datagrams...), want...)
				var bytes uint64
				for _, p := range want {
					bytes += uint64(len(p))
				}
				if c := d[0].Counters(); c.TxPackets != uint64(len(want)) || c.TxBytes != bytes {
					t.Errorf("sender counts %+v", c)
				}
				if c := d[1].Counters(); c.RxPackets != uint64(len(want)) || c.RxBytes != bytes || c.Dropped != 0 {
					t.Errorf("receiver counts %+v", c)
				}
			}
			// What one sends, it does not itself accept.
			expect(t, "reflected", openEach(client, sealEach(t, client, "hello")...), "")
		})
	}
}

func TestSealLayout(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 64)
	client.setPeerID(wire.NoPeerID)
	in := [][]byte{[]byte("one"), []byte("second"), []byte("3")}
	dst := append(make([]byte, 0, 800), "head"...)
	for i := range dst[:cap(dst)][4:] {
		dst[:cap(dst)][4+i] = 0xee
	}
	got, sizes := client.Seal(dataTime, dst, 2, list(in), []int{9, 9})
	if !slices.Equal(sizes, []int{27, 30, 25}) || len(got) != 4+3*2+27+30+25 {
		t.Fatalf("sealed sizes %v, %d bytes", sizes, len(got))
	}
	if &got[0] != &dst[0] || string(got[:4]) != "head" {
		t.Error("dst was large enough, and yet moved or changed")
	}
	var datagrams [][]byte
	rest := got[4:]
	for _, size := range sizes {
		if rest[0] != 0 || rest[1] != 0 {
			t.Errorf("gap is %x", rest[:2])
		}
		datagrams = append(datagrams, rest[2:2+size])
		rest = rest[2+size:]
	}
	if wire.PeerID(datagrams[1]) != wire.NoPeerID {
		t.Errorf("peer id %x", datagrams[1][:4])
	}
	expect(t, "delivered", openEach(server, datagrams...), "one", "second", "3")

	if got, sizes := newData(Client, 0, replayLimit{}).Seal(dataTime, dst, 2, list(in), sizes); len(sizes) != 0 || len(got) != 4 {
		t.Error("sealed without a key")
	}
	if got, sizes := client.Seal(dataTime, dst, 2, list(nil), sizes); len(sizes) != 0 || len(got) != 4 {
		t.Error("sealed nothing, and yet something")
	}
}

// A train is what UDP_GRO gives: datagrams back to back in one buffer.
func TestOpenTrain(t *testing.T) {
	for _, name := range cipherNames {
		for _, room := range []int{0, 15, 16, 100} {
			client, server := newPair(t, name, 64)
			var in [][]byte
			var want []string
			for i := range 20 {
				want = append(want, strings.Repeat(string(rune('a'+i)), 1+i*7%40))
				in = append(in, []byte(want[i]))
			}
			buf, sizes := client.Seal(dataTime, nil, 0, list(in), nil)
			// A forged one in the middle must not harm its neighbours.
			buf[sizes[0]+sizes[1]+sizes[2]+30] ^= 1
			want[3] = ""
			buf = append(make([]byte, 0, len(buf)+room), buf...)
			tail := buf[:cap(buf)][len(buf):]
			for i := range tail {
				tail[i] = 0xaa
			}
			var train [][]byte
			for rest := buf; len(train) < len(sizes); {
				size := sizes[len(train)]
				train = append(train, rest[:size])
				rest = rest[size:]
			}
			expect(t, fmt.Sprintf("%s, %d bytes behind", name, room), openHere(server, train), want...)
			for _, b := range tail {
				if b != 0xaa {
					t.Error("bytes behind the train were not restored")
					break
				}
			}
		}
	}
}

func TestReplayAndReorder(t *testing.T) {
	client, server := newPair(t, "AES-128-GCM", 64)
	var pkts []string
	for i := range 200 {
		pkts = append(pkts, fmt.Sprint("packet ", i))
	}
	d := sealEach(t, client, pkts...)
	expect(t, "reordered", openEach(server, d[2], d[0], d[1], d[2], d[0]), pkts[2], pkts[0], pkts[1], "", "")
	expect(t, "at the edges", openEach(server, d[70], d[7], d[6], d[7]), pkts[70], pkts[7], "", "")
	expect(t, "far ahead", openEach(server, d[199], d[71], d[150], d[199]), pkts[199], "", pkts[150], "")
	if c := server.Counters(); c.Dropped != 2+2+2 {
		t.Errorf("dropped %d", c.Dropped)
	}

	// A forged packet far ahead must not move the window.
	client, server = newPair(t, "AES-128-GCM", 64)
	d = sealEach(t, client, pkts...)
	forged := bytes.Clone(d[199])
	forged[len(forged)-1] ^= 1
	expect(t, "forged, then the first", openEach(server, forged, d[0], d[199]), "", pkts[0], pkts[199])

	client, server = newPair(t, "AES-128-GCM", 1000)
	d = sealEach(t, client, pkts...)
	expect(t, "wide window", openEach(server, d[199], d[0], d[0]), pkts[199], pkts[0], "")
}

func TestTamper(t *testing.T) {
	for _, name := range cipherNames {
		client, server := newPair(t, name, 64)
		d := sealEach(t, client, "a packet of some length")[0]
		for i := range d {
			for _, flip := range []byte{1, 0x80} {
				bad := bytes.Clone(d)
				bad[i] ^= flip
				if got := openEach(server, bad)[0]; got != "" {
					t.Errorf("%s: byte %d changed, and yet delivered %q", name, i, got)
				}
			}
		}
		for n := range len(d) {
			if got := openEach(server, d[:n:n], d[:n]); got[0] != "" || got[1] != "" {
				t.Errorf("%s: cut to %d bytes, and yet delivered", name, n)
			}
		}
		if !server.LastOpened().IsZero() {
			t.Errorf("%s: forged packets count as life", name)
		}
		expect(t, name+": the true one", openEach(server, d), "a packet of some length")
	}
}

func TestOpenRefuses(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 64)
	d := sealEach(t, client, "hello")[0]
	for n := range 41 {
		b := make([]byte, n)
		if n > 0 {
			b[0] = 9 << 3
		}
		expect(t, fmt.Sprint(n, " bytes"), openEach(server, b), "")
	}
	for name, head := range map[string]byte{"DATA_V1": 6 << 3, "control": 4 << 3, "unknown key": 9<<3 | 3} {
		b := bytes.Clone(d)
		b[0] = head
		expect(t, name, openEach(server, b), "")
	}
	expect(t, "the true one", openEach(server, d), "hello")
}

// The two ends change keys at different moments while packets are in flight.
func TestKeyChange(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 64)
	next := testKeys()
	for i := range next {
		next[i] ^= 0x5a
	}
	old := sealEach(t, client, "old 1", "old 2", "old 3", "old 4")
	expect(t, "before", openEach(server, old[0]), "old 1")
	mustInstall(t, client, 1, "CHACHA20-POLY1305", next)
	if id, ok := client.sendKey(); id != 0 || !ok {
		t.Error("a key seals before it is promoted")
	}
	client.promote(1)
	if id, _ := client.sendKey(); id != 1 {
		t.Error("a promoted key does not seal")
	}
	fresh := sealEach(t, client, "new 1", "new 2", "new 3", "new 4")
	if fresh[0][0] != 9<<3|1 || fresh[0][7] != 1 {
		t.Errorf("head of the first packet of key 1: %x", fresh[0][:8])
	}
	expect(t, "server not ready", openEach(server, fresh[3]), "")
	mustInstall(t, server, 1, "CHACHA20-POLY1305", next)
	if server.openedWith(1) || !server.openedWith(0) {
		t.Error("openedWith is wrong before a packet of the new key")
	}
	select {
	case <-server.Wake():
	default:
	}
	expect(t, "interleaved", openEach(server, old[1], fresh[0], old[2], fresh[1], old[1]), "old 2", "new 1", "old 3", "new 2", "")
	select {
	case <-server.Wake():
	default:
		t.Error("the session is not told that the client uses the new key")
	}
	if !server.openedWith(1) {
		t.Error("openedWith is wrong after a packet of the new key")
	}
	// The server still sends with the old key.
	expect(t, "other way", openEach(client, sealEach(t, server, "from server")...), "from server")
	server.promote(1)
	expect(t, "other way, new key", openEach(client, sealEach(t, server, "from server")...), "from server")
	server.retire(0)
	expect(t, "after retirement", openEach(server, old[3], fresh[2]), "", "new 3")
	server.promote(0)
	if id, ok := server.sendKey(); id != 1 || !ok {
		t.Error("promoting a retired key changed the send key")
	}
	// The id comes round again with another key and a window of its own.
	mustInstall(t, server, 1, "AES-128-GCM", testKeys())
	mustInstall(t, client, 1, "AES-128-GCM", testKeys())
	client.promote(1)
	expect(t, "same id again", openEach(server, sealEach(t, client, "again")...), "again")
	for id := range uint8(8) {
		server.retire(id)
	}
	if _, ok := server.sendKey(); ok || server.openedWith(1) || server.exhausted() {
		t.Error("a Data without keys still has one")
	}
	if server.sealControl(dataTime, pingPayload()) != nil {
		t.Error("sealed without a key")
	}
	if err := server.install(8, dataFormat{cipher: mustCipher(t, "AES-128-GCM")}, testKeys()); err == nil {
		t.Error("key id 8 installed")
	}
	if err := server.install(0, dataFormat{}, testKeys()); err == nil {
		t.Error("a key without a cipher installed")
	}
}

func awake(d *Data) bool {
	select {
	case <-d.Wake():
		return true
	default:
		return false
	}
}

func TestMessagesToTheSession(t *testing.T) {
	client, server := newPair(t, "CHACHA20-POLY1305", 64)
	if !server.LastOpened().IsZero() || !client.lastSealed().IsZero() {
		t.Error("life before the first packet")
	}
	ping := client.sealControl(dataTime, pingPayload())
	if client.lastSealed() != dataTime || len(ping) != 16+client.Overhead() {
		t.Errorf("ping of %d bytes at %v", len(ping), client.lastSealed())
	}
	expect(t, "ping", openEach(server, ping), "")
	if server.LastOpened() != dataTime || awake(server) {
		t.Error("a ping is life, and nothing else")
	}
	occ := func(rest ...byte) []byte { return client.sealControl(dataTime, append([]byte(occMagic), rest...)) }
	expect(t, "OCC MTU request, empty packet", openEach(server, occ(2), sealEach(t, client, "")[0]), "", "")
	expect(t, "almost", openEach(server, occ(), client.sealControl(dataTime, append(pingPayload(), 0))), "", pingMagic+"\x00")
	if server.exited() || awake(server) {
		t.Error("exit without goodbye")
	}
	expect(t, "exit", openEach(server, client.sealControl(dataTime, exitPayload()), occ(occExit)), "", "")
	if !server.exited() || !awake(server) || awake(server) {
		t.Error("goodbye must wake the session once")
	}
	if c := server.Counters(); c.Dropped != 0 || c.RxPackets != 1 {
		t.Errorf("counts %+v", c)
	}
	if c := client.Counters(); c.TxPackets != 1 { // the empty packet
		t.Errorf("counts %+v", c)
	}
}

func TestCVE_2017_7479_PacketIDsRunOut(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 64)
	key := client.ring.Load().send.send.(*aeadSealer)
	key.last = packetIDRenew - 2
	expect(t, "one before", openEach(server, sealEach(t, client, "x")...), "x")
	if client.exhausted() || awake(client) {
		t.Error("exhausted too early")
	}
	expect(t, "the first that asks", openEach(server, sealEach(t, client, "x")...), "x")
	if !client.exhausted() || !awake(client) {
		t.Error("not exhausted")
	}
	sealEach(t, client, "x")
	if awake(client) {
		t.Error("woken twice for one key")
	}
	key.last = packetIDLast - 2
	in := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	dst, sizes := client.Seal(dataTime, nil, 2, list(in), nil)
	if n := len(sizes); n != 2 || len(dst) != 2*(2+1+client.Overhead()) {
		t.Errorf("sealed %d in %d bytes", n, len(dst))
	}
	expect(t, "the last", openEach(server, dst[2+25+2:]), "b")
	if _, sizes := client.Seal(dataTime, nil, 0, list(in), sizes); len(sizes) != 0 || client.sealControl(dataTime, pingPayload()) != nil {
		t.Error("packet ids wrapped")
	}
	// A new key ends the emergency, even before it is promoted.
	mustInstall(t, client, 1, "AES-256-GCM", testKeys())
	if client.exhausted() {
		t.Error("still exhausted with a new key")
	}
}

func TestUsageLimits(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit bool
	}{{"AES-256-GCM", true}, {"CHACHA20-POLY1305", false}} {
		client, server := newPair(t, c.name, 64)
		client.ring.Load().send.send.(*aeadSealer).usage = gcmLimit/8*7 - 3
		server.ring.Load().keys[0].recv.(*aeadOpener).usage = gcmLimit/8*7 - 3
		openEach(server, sealEach(t, client, "seventeen bytes..")...) // two blocks and a packet
		if client.exhausted() || server.exhausted() {
			t.Errorf("%s: exhausted at the limit, not over it", c.name)
		}
		openEach(server, sealEach(t, client, "x")...)
		if client.exhausted() != c.limit || server.exhausted() != c.limit || awake(client) != c.limit || awake(server) != c.limit {
			t.Errorf("%s: exhausted %v and %v, want %v", c.name, client.exhausted(), server.exhausted(), c.limit)
		}
	}

	client, server := newPair(t, "AES-128-GCM", 64)
	recv := server.ring.Load().keys[0].recv.(*aeadOpener)
	good := sealEach(t, client, "one", "two", "three")
	bad := bytes.Clone(good[0])
	bad[25] ^= 1
	recv.forged = forgedRenew - 2
	openEach(server, bad)
	if server.exhausted() {
		t.Error("exhausted by too few forgeries")
	}
	openEach(server, bad)
	if !server.exhausted() || !awake(server) {
		t.Error("2^35 forgeries do not ask for a new key")
	}
	recv.forged = forgedLast - 1
	bad = bytes.Clone(good[2])
	bad[25] ^= 1
	expect(t, "at the end", openEach(server, good[0], bad, good[1]), "one", "", "")
}

func TestDataAllocatesNothing(t *testing.T) {
	for _, name := range cipherNames {
		client, server := newPair(t, name, 64)
		const batch = 16
		pkts := make([][]byte, batch)
		for i := range pkts {
			pkts[i] = make([]byte, 1400)
		}
		var rest List
		sizes := make([]int, 0, batch)
		train := make([][]byte, batch)
		dst := make([]byte, 0, batch*1600)
		exact := make([]byte, 1400+client.Overhead())
		allocs := testing.AllocsPerRun(50, func() {
			var buf []byte
			rest = pkts
			buf, sizes = client.Seal(dataTime, dst, 2, &rest, sizes)
			for i := range sizes {
				train[i] = buf[2 : 2+sizes[i]]
				buf = buf[2+sizes[i]:]
			}
			// One without any room behind it.
			copy(exact, train[3])
			train[3] = exact[:len(exact):len(exact)]
			if n, _ := server.Open(dataTime, train); n != batch {
				t.Error("not all delivered")
			}
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations per batch", name, allocs)
		}
	}
}

// A sealer, an opener and a Session at once; the race detector looks on.
func TestDataConcurrently(t *testing.T) {
	client, server := newPair(t, "AES-256-GCM", 4096)
	var wg sync.WaitGroup
	wire := make(chan [][]byte, 4)
	const batches = 200
	wg.Go(func() {
		defer close(wire)
		for i := range batches {
			wire <- sealEach(t, client, fmt.Sprint("a ", i), fmt.Sprint("b ", i))
		}
	})
	var delivered int
	wg.Go(func() {
		for datagrams := range wire {
			for _, p := range openEach(server, datagrams...) {
				if p != "" {
					delivered++
				}
			}
		}
	})
	wg.Go(func() {
		for i := range uint8(50) {
			id := 1 + i%7
			mustInstall(t, server, id, "AES-128-GCM", testKeys())
			mustInstall(t, client, id, "AES-128-GCM", testKeys())
			client.promote(id)
			client.sendKey()
			client.lastSealed()
			server.LastOpened()
			server.openedWith(id)
			server.exhausted()
			server.Counters()
			client.sealControl(dataTime, pingPayload())
			if id > 2 {
				server.retire(id - 2)
			}
		}
	})
	wg.Wait()
	if delivered == 0 {
		t.Error("nothing arrived")
	}
}

func FuzzOpen(f *testing.F) {
	client, _ := newPair(f, "AES-256-GCM", 64)
	for _, d := range sealEach(f, client, "x", "a longer packet", strings.Repeat("y", 100)) {
		f.Add(d, uint8(0), uint16(3))
		f.Add(d, uint8(20), uint16(len(d)))
	}
	f.Add(client.sealControl(dataTime, exitPayload()), uint8(0), uint16(0))
	f.Add(make([]byte, 40), uint8(16), uint16(24))
	f.Fuzz(func(t *testing.T, b []byte, room uint8, cut uint16) {
		_, server := newPair(t, "AES-256-GCM", 64)
		// Two datagrams in one buffer, with room bytes behind.
		buf := append(make([]byte, 0, len(b)+int(room)), b...)
		at := int(cut) % (len(b) + 1)
		in := [][]byte{buf[:at], buf[at:]}
		lengths := []int{len(in[0]), len(in[1])}
		tail := bytes.Repeat([]byte{0xaa}, cap(buf)-len(buf))
		copy(buf[len(buf):cap(buf)], tail)
		server.Open(dataTime, in[:1])
		if !bytes.Equal(buf[at:], b[at:]) {
			t.Error("the datagram behind was not restored")
		}
		server.Open(dataTime, in[1:])
		if !bytes.Equal(buf[len(buf):cap(buf)], tail) {
			t.Error("the bytes behind were not restored")
		}
		for i, p := range in {
			if p != nil && len(p) != lengths[i]-server.Overhead() {
				t.Errorf("datagram of %d bytes became %d", lengths[i], len(p))
			}
		}
		if c := server.Counters(); c.RxPackets+c.Dropped > 2 {
			t.Errorf("counts %+v", c)
		}
	})
}

func TestOpenRandomBatches(t *testing.T) {
	client, server := newPair(t, "CHACHA20-POLY1305", 128)
	r := rand.New(rand.NewPCG(3, 4))
	var sent, got uint64
	for range 50 {
		var pkts []string
		for range 1 + r.IntN(60) {
			pkts = append(pkts, strings.Repeat("z", 1+r.IntN(1400)))
		}
		d := sealEach(t, client, pkts...)
		r.Shuffle(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
		for _, p := range openEach(server, append(d, d...)...) {
			if p != "" {
				got++
			}
		}
		sent += uint64(len(d))
	}
	if c := server.Counters(); got != sent || c.Dropped != sent || c.RxPackets != sent {
		t.Errorf("sent %d twice, delivered %d, counts %+v", sent, got, c)
	}
}

// The first answer to a peer that uses a new key must not wait for the Session.
func TestOpenMovesSendingToThePeersKey(t *testing.T) {
	client, server := newData(Client, 1, replayLimit{}), newData(Server, 1, replayLimit{})
	c, _ := LookupCipher("AES-128-GCM")
	for id := range uint8(2) {
		km := &keyMaterial{id}
		for _, d := range []*Data{client, server} {
			if err := d.install(id, dataFormat{cipher: c}, km); err != nil {
				t.Fatal(err)
			}
		}
		now := time.Unix(100, 0)
		client.promote(id)
		b, sizes := client.Seal(now, nil, 0, &List{{0x45, 1, 2}}, nil)
		if len(sizes) != 1 {
			t.Fatal("no key")
		}
		if n, _ := server.Open(now, [][]byte{b}); n != 1 {
			t.Fatal("not opened")
		}
		if got, ok := server.sendKey(); !ok || got != id {
			t.Errorf("the server seals with key %d %v, the client uses %d", got, ok, id)
		}
	}
}
