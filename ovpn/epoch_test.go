package ovpn

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"testing"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The numbers are from openvpn's test_crypto.c, which has the first three from RFC 5869, appendix A.
func TestExpand(t *testing.T) {
	ramp := func(from, n int) (b []byte) {
		for i := range n {
			b = append(b, byte(from+i))
		}
		return b
	}
	prk := "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
	for _, c := range []struct{ name, secret, info, want string }{
		{"A.1", prk, string(ramp(0xf0, 10)), "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"},
		{"A.2", "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244", string(ramp(0xb0, 80)),
			"b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09" +
				"da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"},
		{"A.3", "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04", "",
			"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"},
		{"label", prk, string(fromHex(t, "001b0e6f76706e20756e6974207465737400")), "875a8eec18556380b8d933ed323c2df8e8eccf4972e683f06a83ac"},
	} {
		want := fromHex(t, c.want)
		secret := fromHex(t, c.secret)
		// The standard library's expansion is the measure for ours, which does one round.
		got, err := hkdf.Expand(sha256.New, secret, c.info, len(want))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v", c.name, got, err)
		}
		if len(c.info) < 60 {
			round := hmacSHA256((*epochSecret)(secret), append([]byte(c.info), 1))
			if n := min(32, len(want)); !bytes.Equal(round[:n], want[:n]) {
				t.Errorf("%s: first round %x", c.name, round)
			}
		}
	}

	secret := (*epochSecret)(fromHex(t, prk))
	for _, c := range []struct{ label, want string }{
		{"unit test", "185eaa1c7f228ab8eb29773214d92046"},
		{"unit test", "875a8eec18556380b8d933ed323c2df8e8eccf4972e683f06a83ac"},
	} {
		out := make([]byte, len(c.want)/2)
		if expandLabel(out, secret, c.label); hex.EncodeToString(out) != c.want {
			t.Errorf("%s: %x", c.label, out)
		}
	}
}

// The numbers are from openvpn's test_crypto.c, epoch_test_derive_data_key.
func TestEpochDataKey(t *testing.T) {
	secret := &epochSecret{19, 12}
	var key [24]byte
	var iv [12]byte
	expandLabel(key[:], secret, "data_key")
	expandLabel(iv[:], secret, "data_iv")
	if hex.EncodeToString(key[:]) != "ed8533db1c28ace418e9006ab29c17417d60ebe6cd90bf0a" || hex.EncodeToString(iv[:]) != "86890aabf032cb59f4cfa34e" {
		t.Errorf("key %x, IV %x", key, iv)
	}
	if _, got, err := secret.dataKey(mustCipher(t, "AES-192-GCM")); err != nil || got != iv {
		t.Errorf("IV %x, %v", got, err)
	}
}

// The numbers are from openvpn's test_ssl.c, test_data_channel_known_vectors: both directions use
// one secret, and the sender is in epoch 4.
func TestEpochKnownPacket(t *testing.T) {
	const plain = "The quick little fox jumps over the bureaucratic hurdles"
	secret := testKeys().cipher(0)
	c := mustCipher(t, "AES-256-GCM")
	s, o, err := newEpochPair(0, c, secret, secret, replayLimit{})
	if err != nil {
		t.Fatal(err)
	}
	s.head = 7 << 24
	if !s.advance(4) {
		t.Fatal("no epoch 4")
	}
	d, ok := s.seal(make([]byte, 0, 200), 0x17, []byte(plain))
	if !ok || hex.EncodeToString(d[:12]) != "07000017"+"0004000000000001" {
		t.Fatalf("%x", d)
	}
	if got := hex.EncodeToString(d[len(d)-16:]); got != "0ffff5913d39d75b18573b5748589a7d" {
		t.Errorf("tag %s", got)
	}
	if got := hex.EncodeToString(d[4+14 : 4+20]); got != "36aab4d49ce6" {
		t.Errorf("ciphertext %s", got)
	}
	// openvpn's head there is no DATA_V2 head; ours is opened.
	s.head = 9 << 27
	if d, ok = s.seal(make([]byte, 0, 200), 0x17, []byte(plain)); !ok {
		t.Fatal("not sealed")
	}
	if got, ok := o.open(d, nil); !ok || string(got) != plain {
		t.Errorf("opened %q, %v", got, ok)
	}
}

// The numbers are from openvpn's test_packet_id.c, test_packet_id_write_epoch.
func TestEpochPacketIDs(t *testing.T) {
	for _, c := range []struct {
		epoch uint16
		last  uint64
		want  string
	}{{0x23, 0, "0023000000000001"}, {0xfffe, 0xfa079ab9d2e8, "fffefa079ab9d2e9"}, {0xf00f, 0xfffffffffffe, "f00fffffffffffff"}} {
		_, _, s, _ := epochPair(t, "CHACHA20-POLY1305")
		s.epoch, s.counter = c.epoch, c.last
		if d, ok := s.seal(make([]byte, 0, 200), 7, []byte("x")); !ok || hex.EncodeToString(d[4:12]) != c.want {
			t.Errorf("after %x: %x, %v", c.last, d, ok)
		}
		// No number is used twice: at the end comes another epoch, or nothing.
		s.epoch, s.counter = c.epoch, counterLast
		if d, ok := s.seal(make([]byte, 0, 200), 7, []byte("x")); !ok || binary.BigEndian.Uint64(d[4:]) != (uint64(c.epoch)+1)<<48|1 {
			t.Errorf("after the last of epoch %x: %x, %v", c.epoch, d, ok)
		}
	}
}

// The numbers are from openvpn's test_crypto.c, crypto_test_aead_limits.
func TestAEADLimits(t *testing.T) {
	if l := mustCipher(t, "CHACHA20-POLY1305").limit; l != 0 {
		t.Errorf("ChaCha20-Poly1305: %d", l)
	}
	l := mustCipher(t, "AES-128-GCM").limit
	// Packets of 1600 and of almost 9000 bytes: their blocks, and one for the packet.
	for _, c := range []struct {
		size int
		want uint64
	}{{1600, 680390858}, {8992, 122059461}} {
		if got := l / (blocks(c.size) + 1); got != c.want {
			t.Errorf("%d packets of %d bytes, want %d", got, c.size, c.want)
		}
	}
	if l != 1<<36-1 {
		t.Errorf("AES-GCM: %d", l)
	}
}

// epochPair returns both ends with epoch keys, and the halves of the key.
func epochPair(t testing.TB, name string) (client, server *Data, s *epochSealer, o *epochOpener) {
	t.Helper()
	client, server = formatPair(t, dataFormat{cipher: mustCipher(t, name), epoch: true})
	return client, server, client.ring.Load().send.send.(*epochSealer), server.ring.Load().keys[0].recv.(*epochOpener)
}

// Which epochs a receiver takes, around its own and at the end of the numbers. CVE-2025-15497: openvpn
// ended itself when a peer jumped exactly as far as its future keys reach.
func TestCVE_2025_15497_EpochJump(t *testing.T) {
	const n = epochFuture
	for _, start := range []uint16{1, 2, 3, 100, 0xEFFF, epochLastRecv - 2*n, epochLastRecv - n - 1, epochLastRecv - n, epochLastRecv - 1, epochLastRecv} {
		for _, jump := range []int{0, 1, 2, n - 1, n, n + 1, n + 2, -1, -2, -int(start), 0xFFFF - int(start)} {
			target := int(start) + jump
			if target < 0 || target > 0xFFFF {
				continue
			}
			_, server, s, o := epochPair(t, "AES-128-GCM")
			// A receiver that came to start from the epoch before it.
			o.at(t, start)
			var old uint16
			if start > 1 {
				old = start - 1
			}
			datagram := at(t, s, uint16(target), "over the edge")
			want := ""
			if target > 0 && (target == int(start) || target == int(old) || target > int(start) && target <= int(start)+n && target <= epochLastRecv) {
				want = "over the edge"
			}
			expect(t, fmt.Sprintf("from %d to %d", start, target), openEach(server, datagram), want)
			if want != "" && target >= int(start) && int(o.current.epoch) != target {
				t.Errorf("from %d to %d: the receiver is at %d", start, target, o.current.epoch)
			}
			if want == "" && o.current.epoch != start {
				t.Errorf("from %d: a refused packet of %d moved the receiver to %d", start, target, o.current.epoch)
			}
			for i, k := range o.future {
				if k != nil && k.epoch != o.current.epoch+uint16(i)+1 {
					t.Errorf("from %d to %d: future key %d is of epoch %d", start, target, i, k.epoch)
				}
			}
		}
	}
}

// at puts a receiver into epoch, with the one before as the old one, without counting up to it.
func (o *epochOpener) at(t testing.TB, epoch uint16) {
	t.Helper()
	key := func(e uint16) (k epochKey) {
		secret := secretOf(e)
		k, err := secret.recvKey(o.cipher, e)
		if err != nil {
			t.Fatal(err)
		}
		k.replay = newReplayWindow(o.window)
		return k
	}
	o.current, o.old = key(epoch), nil
	if epoch > 1 {
		old := key(epoch - 1)
		o.old = &old
	}
	for i := range o.future {
		k := key(epoch + uint16(i) + 1)
		o.future[i] = &k
	}
	o.secret = secretOf(epoch)
}

// secretOf is a secret for one epoch of tests that leave the chain out.
func secretOf(epoch uint16) epochSecret { return epochSecret{byte(epoch), byte(epoch >> 8)} }

// at seals one packet in an epoch.
func at(t testing.TB, s *epochSealer, epoch uint16, plain string) []byte {
	t.Helper()
	secret := secretOf(epoch)
	var err error
	if s.aead, s.iv, err = secret.dataKey(s.cipher); err != nil {
		t.Fatal(err)
	}
	s.epoch, s.counter = epoch, 0
	d, ok := s.seal(make([]byte, 0, 200), 7, []byte(plain))
	if !ok {
		t.Fatal("not sealed")
	}
	return d
}

// A lone forged packet of a future epoch must not move anything.
func TestForgedEpochs(t *testing.T) {
	_, server, s, o := epochPair(t, "AES-256-GCM")
	for epoch := range 8 {
		d := at(t, s, uint16(epoch), "forged")
		d[len(d)-1] ^= 1
		expect(t, fmt.Sprint("epoch ", epoch), openEach(server, d), "")
	}
	if o.current.epoch != 1 || o.link.wanted.Load() != 0 {
		t.Errorf("at epoch %d, wants %d", o.current.epoch, o.link.wanted.Load())
	}
}

func TestEpochsFollowEachOther(t *testing.T) {
	client, server, s, o := epochPair(t, "AES-256-GCM")
	back := server.ring.Load().send.send.(*epochSealer)
	first := sealEach(t, client, "1", "2", "3")
	expect(t, "in epoch 1", openEach(server, first[1]), "2")

	// At the limit the sender goes on, and the receiver and its sender follow.
	s.blocks = gcmLimit
	second := sealEach(t, client, "4", "5")
	if s.epoch != 2 || s.counter != 2 || s.blocks != 2 {
		t.Errorf("sender in epoch %d, counter %d, blocks %d", s.epoch, s.counter, s.blocks)
	}
	if id := binary.BigEndian.Uint64(second[0][4:]); id != 2<<48|1 {
		t.Errorf("id %x", id)
	}
	expect(t, "both epochs, reordered", openEach(server, second[1], first[2], second[1], first[2], second[0], first[0]), "5", "3", "", "", "4", "1")
	expect(t, "the answer", openEach(client, sealEach(t, server, "answer")...), "answer")
	if back.epoch != 2 || o.current.epoch != 2 || o.old.epoch != 1 {
		t.Errorf("answers in epoch %d, receives in %d and %d", back.epoch, o.current.epoch, o.old.epoch)
	}

	// A receiver that sees too much pushes the peer by its own example, once.
	o.current.blocks = gcmLimit
	expect(t, "too much", openEach(server, sealEach(t, client, "6", "7")...), "6", "7")
	expect(t, "the example", openEach(client, sealEach(t, server, "8", "9")...), "8", "9")
	if back.epoch != 3 || s.epoch != 2 {
		t.Errorf("answers in epoch %d, the sender was in %d", back.epoch, s.epoch)
	}
	expect(t, "followed", openEach(server, sealEach(t, client, "10")...), "10")
	if s.epoch != 3 || o.current.epoch != 3 || back.epoch != 3 {
		t.Errorf("epochs %d, %d, %d", s.epoch, o.current.epoch, back.epoch)
	}
	expect(t, "epoch 1 is over", openEach(server, first[0]), "")

	// So does one with too many forgeries, and in the end it takes nothing more of that epoch.
	o.current.forged = forgedRenew - 1
	good := sealEach(t, client, "11", "12")
	bad := bytes.Clone(good[0])
	bad[20] ^= 1
	expect(t, "forged", openEach(server, bad), "")
	sealEach(t, server, "x")
	if back.epoch != 4 {
		t.Errorf("answers in epoch %d after forgeries", back.epoch)
	}
	o.current.forged = forgedLast
	expect(t, "no more", openEach(server, good[1]), "")

	// Renegotiation is asked for from 0xF000 on, by either direction.
	if client.exhausted() || server.exhausted() {
		t.Error("exhausted early")
	}
	s.epoch, s.secret = epochRenew-1, secretOf(epochRenew-1)
	if sealEach(t, client, "x"); client.exhausted() || awake(client) {
		t.Error("exhausted one early")
	}
	s.blocks = gcmLimit
	if sealEach(t, client, "x"); !client.exhausted() || !awake(client) {
		t.Error("not exhausted at 0xF000")
	}
	o.at(t, epochRenew-1)
	if expect(t, "0xF000", openEach(server, at(t, s, epochRenew, "x")), "x"); !server.exhausted() || !awake(server) {
		t.Error("receiver not exhausted at 0xF000")
	}

	// The very last epoch has no next one, and its counter does not wrap.
	s.advance(epochLast)
	s.blocks = gcmLimit
	if sealEach(t, client, "x"); s.epoch != epochLast {
		t.Errorf("epoch %d", s.epoch)
	}
	s.counter = counterLast
	if _, sizes := client.Seal(dataTime, nil, 0, &List{{1}}, nil); len(sizes) != 0 || s.epoch != epochLast {
		t.Error("the last counter wrapped")
	}
	// Ciphers without a limit go on when the counter ends.
	client, server, s, _ = epochPair(t, "CHACHA20-POLY1305")
	s.counter = counterLast - 1
	expect(t, "counter", openEach(server, sealEach(t, client, "last", "first")...), "last", "first")
	if s.epoch != 2 || s.counter != 1 {
		t.Errorf("epoch %d, counter %d", s.epoch, s.counter)
	}
}

// The window of a new epoch begins in the middle of a batch: what that batch has overtaken is not too late yet.
func TestLateInNewEpoch(t *testing.T) {
	client, server, s, _ := epochPair(t, "AES-256-GCM")
	expect(t, "epoch 1", openEach(server, sealEach(t, client, "1")...), "1")
	s.blocks = gcmLimit
	sent := sealEach(t, client, "2", "3", "4")
	expect(t, "epoch 2", openEach(server, sent[0], sent[2]), "2", "4")
	expect(t, "late", openEach(server, sent[1]), "3")
}

// A peer that goes far ahead while nothing is sent back follows the answers all the same, and
// the first of them does not pay for all epochs at once.
func TestAnswersAfterManyEpochs(t *testing.T) {
	client, server, s, o := epochPair(t, "AES-256-GCM")
	back := server.ring.Load().send.send.(*epochSealer)
	for range 10 {
		if !s.advance(s.epoch + epochFuture) {
			t.Fatal("no next epoch")
		}
		expect(t, "ahead", openEach(server, sealEach(t, client, "x")...), "x")
	}
	if o.current.epoch != 1+10*epochFuture {
		t.Fatalf("the receiver is at %d", o.current.epoch)
	}
	for i := range 12 {
		was := back.epoch
		expect(t, "answer", openEach(client, sealEach(t, server, "answer")...), "answer")
		if back.epoch-was > epochFuture {
			t.Errorf("answer %d: from epoch %d to %d", i, was, back.epoch)
		}
	}
	if back.epoch != o.current.epoch {
		t.Errorf("answers in epoch %d, the peer is at %d", back.epoch, o.current.epoch)
	}
}

// A million changes of epoch, half of them of senders and half of receivers, both ways,
// with a new key each time before the epochs end.
func TestMillionEpochs(t *testing.T) {
	t.Parallel()
	packets := 500_000
	if testing.Short() {
		packets = 50_000
	}
	f := dataFormat{cipher: mustCipher(t, "AES-128-GCM"), epoch: true}
	f.cipher.limit = 1 // one packet of one block, and the next one has the next epoch
	client, server := formatPair(t, f)
	in, train, sizes := []byte{0}, make([][]byte, 1), make([]int, 1)
	buf, keyID, renewals := make([]byte, 0, 256), uint8(0), 0
	for i := range packets {
		in[0] = byte(i) | 1
		from, to := client, server
		if i&1 == 1 {
			from, to = server, client
		}
		buf, sizes = from.Seal(dataTime, buf[:0], 0, &List{in}, sizes)
		if len(sizes) != 1 {
			t.Fatalf("packet %d: no key", i)
		}
		train[0] = buf
		if n, _ := to.Open(dataTime, train); n != 1 || train[0][0] != in[0] {
			t.Fatalf("packet %d: lost", i)
		}
		if from.exhausted() || to.exhausted() {
			renewals++
			keyID = keyID%7 + 1
			km := testKeys()
			binary.BigEndian.PutUint64(km[:], uint64(i))
			for _, d := range []*Data{client, server} {
				if err := d.install(keyID, f, km); err != nil {
					t.Fatal(err)
				}
				d.promote(keyID)
			}
		}
	}
	// Each of the two senders goes on once in two packets.
	if want := packets / 2 / epochRenew; renewals != want {
		t.Errorf("%d renewals, want %d", renewals, want)
	}
}
