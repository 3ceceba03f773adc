package ovpn

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/adit-vpn/adit/ovpn/wire"
)

// Data is the packet crypto of one session, with keys swapped atomically by its
// Session. One goroutine may Seal while another Opens; both take a lock once per call (a
// batch), never per packet, and allocate nothing.
type Data struct {
	role   Role
	window replayLimit
	peerID atomic.Uint32
	ring   atomic.Pointer[keyRing]
	wake   chan struct{}
	exit   atomic.Bool // the peer said goodbye
	asked  asked       // by the peer, for the Session to answer
	loads  chan int    // sizes of datagrams that we asked for

	rxBytes, txBytes, rxPackets, txPackets, dropped atomic.Uint64

	change sync.Mutex // held while ring is replaced

	sealing struct { // one batch at a time
		sync.Mutex
		last     time.Time
		largest  int    // datagram, bytes
		sequence uint8  // of packets in fragments
		frame    []byte // a packet in its framing
	}
	opening struct { // one batch at a time
		sync.Mutex
		last      time.Time
		largest   int    // authentic datagram, bytes
		scratch   []byte // for datagrams that have no room behind them
		space     space  // for packets that their datagrams do not hold
		fragments fragments
	}
}

// keyRing is the set of keys at one moment; it is replaced, never changed.
type keyRing struct {
	keys   [8]*dataKey // by key id
	send   *dataKey    // promoted last
	newest *dataKey    // installed last
}

// Counters count inner packets and bytes that passed, and datagrams that did not.
type Counters struct {
	RxBytes, TxBytes, RxPackets, TxPackets uint64
	Dropped                                uint64 // replayed, forged or without a key
}

// Bytes is how much has passed, both ways.
func (c Counters) Bytes() uint64 { return c.RxBytes + c.TxBytes }

// Bounds over all formats, for buffers. Headroom is how many bytes Seal adds in front of
// a packet at most, and MaxOverhead in all to one datagram: the head, the longest HMAC, the
// longest IV, packet id, fragment header and compression bytes, and a whole block of padding.
const (
	Headroom    = 4 + 64 + 16 + 4 + 4 + 2
	MaxOverhead = Headroom + 16
)

// newData returns a Data without keys. peerID goes into every datagram sent
// (wire.NoPeerID for none).
func newData(role Role, peerID uint32, window replayLimit) *Data {
	d := &Data{role: role, window: window, wake: make(chan struct{}, 1), loads: make(chan int, 4)}
	d.setPeerID(peerID)
	d.ring.Store(&keyRing{})
	return d
}

// setPeerID changes the id in the datagrams from the next batch on.
func (d *Data) setPeerID(id uint32) { d.peerID.Store(id & wire.NoPeerID) }

// install makes a key usable for opening, and for sealing after promote. It
// replaces a key of the same id.
func (d *Data) install(keyID uint8, f dataFormat, km *keyMaterial) error {
	if int(keyID) >= len(keyRing{}.keys) {
		return fmt.Errorf("key id %d is over 7", keyID)
	}
	key, err := newDataKey(keyID, f, km, d.role, d.window)
	if err != nil {
		return err
	}
	d.replace(func(r *keyRing) {
		r.keys[keyID], r.newest = key, key
	})
	return nil
}

// promote moves sealing to an installed key.
func (d *Data) promote(keyID uint8) {
	d.replace(func(r *keyRing) {
		if key := r.keys[keyID&7]; key != nil {
			r.send = key
		}
	})
}

// retire forgets a key, if there is one. A batch under way may still use it.
func (d *Data) retire(keyID uint8) {
	d.replace(func(r *keyRing) {
		r.keys[keyID&7] = nil
		if r.send != nil && r.send.id == keyID {
			r.send = nil
		}
		if r.newest != nil && r.newest.id == keyID {
			r.newest = nil
		}
	})
}

func (d *Data) replace(edit func(*keyRing)) {
	d.change.Lock()
	defer d.change.Unlock()
	ring := *d.ring.Load()
	edit(&ring)
	d.ring.Store(&ring)
}

// sendKey is the id of the key that Seal uses; false before the first promote.
func (d *Data) sendKey() (uint8, bool) {
	if key := d.ring.Load().send; key != nil {
		return key.id, true
	}
	return 0, false
}

// Ready says whether the peer is known to have a key: what is sealed now can be read there. Any goroutine.
func (d *Data) Ready() bool { return d.ring.Load().send != nil }

// openedWith says whether an authentic packet has come under the key: the peer
// has it.
func (d *Data) openedWith(keyID uint8) bool {
	key := d.ring.Load().keys[keyID&7]
	return key != nil && key.opened.Load()
}

// lastSealed is when a packet was last sealed, control payloads included.
func (d *Data) lastSealed() time.Time {
	d.sealing.Lock()
	defer d.sealing.Unlock()
	return d.sealing.last
}

// LastOpened is when an authentic packet was last opened, pings included. Any goroutine.
func (d *Data) LastOpened() time.Time {
	d.opening.Lock()
	defer d.opening.Unlock()
	return d.opening.last
}

// exited says that the peer said goodbye in the data channel.
func (d *Data) exited() bool { return d.exit.Load() }

// exhausted says that the newest key is nearly used up: renegotiate. It is
// false again once a newer key is installed.
func (d *Data) exhausted() bool {
	key := d.ring.Load().newest
	return key != nil && key.spent.Load()
}

// sealControl returns one new datagram with a payload that is not an IP packet
// (pingPayload, exitPayload), or nil without a key.
func (d *Data) sealControl(now time.Time, payload []byte) []byte {
	if all := d.sealMessage(now, payload); len(all) == 1 { // short, and so never in fragments
		return all[0]
	}
	return nil
}

// sealMessage is sealControl for a payload that may take more than one datagram.
func (d *Data) sealMessage(now time.Time, payload []byte) (datagrams [][]byte) {
	b, sizes := d.SealMessage(now, nil, 0, payload, nil)
	for _, n := range sizes {
		datagrams = append(datagrams, b[:n:n])
		b = b[n:]
	}
	return datagrams
}

// SealMessage is Seal for one message of the Session itself (NextMessage), which no counter counts.
func (d *Data) SealMessage(now time.Time, dst []byte, gap int, message []byte, sizes []int) ([]byte, []int) {
	sizes = sizes[:0]
	d.sealing.Lock()
	defer d.sealing.Unlock()
	key := d.ring.Load().send
	if key == nil {
		return dst, sizes
	}
	sealed, sizes, ok := d.sealFramed(key, dst, gap, d.peerID.Load(), message, sizes)
	if !ok || len(sizes) == 0 {
		return dst, sizes[:0]
	}
	for _, n := range sizes {
		d.sealing.largest = max(d.sealing.largest, n)
	}
	d.sealing.last = now
	d.checkSend(key)
	return sealed, sizes
}

// Packets gives packets one after the other, nil at the end. Each is used up before the next one
// is asked for, and may be overwritten then.
type Packets interface{ Next() []byte }

// List is Packets that are all there. Next takes the first one away.
type List [][]byte

// Next implements Packets.
func (l *List) Next() []byte {
	if len(*l) == 0 {
		return nil
	}
	p := (*l)[0]
	*l = (*l)[1:]
	return p
}

// Seal encrypts pkts with the current send key and appends the datagrams to dst
// one after the other, each preceded by gap zero bytes (2 for TCP's length, which the
// caller fills in). It returns dst and, in sizes[:0], the length of each datagram without
// the gap: none before there are keys, and the packets at the end are left out when the key is
// used up. One packet may become several datagrams. dst must not overlap pkts; it is grown only
// when its capacity is too small, and up to 16 bytes of its capacity behind the last datagram
// are overwritten.
func (d *Data) Seal(now time.Time, dst []byte, gap int, pkts Packets, sizes []int) ([]byte, []int) {
	sizes = sizes[:0]
	d.sealing.Lock()
	defer d.sealing.Unlock()
	key := d.ring.Load().send
	if key == nil {
		return dst, sizes
	}
	peerID, idle := d.peerID.Load(), key.frame.idle()
	var n, bytes int
	for p := pkts.Next(); p != nil; p = pkts.Next() {
		var ok bool
		if idle {
			dst, sizes, ok = d.sealText(key, dst, gap, peerID, p, sizes)
		} else {
			dst, sizes, ok = d.sealFramed(key, dst, gap, peerID, p, sizes)
		}
		if !ok {
			break
		}
		bytes += len(p)
		n++
	}
	for _, size := range sizes {
		d.sealing.largest = max(d.sealing.largest, size)
	}
	if n > 0 {
		d.sealing.last = now
		d.txPackets.Add(uint64(n))
		d.txBytes.Add(uint64(bytes))
	}
	d.checkSend(key)
	return dst, sizes
}

// Overhead is how many bytes a datagram adds to an inner packet at most, in the format of
// the newest key; before there is one, MaxOverhead.
func (d *Data) Overhead() int {
	if key := d.ring.Load().newest; key != nil {
		return key.format.overhead()
	}
	return MaxOverhead
}

// Payload is the longest inner packet whose datagram, whole, has at most size bytes, in the format
// of the newest key; less than 1 when there is none.
func (d *Data) Payload(size int) int {
	if key := d.ring.Load().newest; key != nil {
		return key.format.payload(size)
	}
	return size - MaxOverhead
}

// Open authenticates and decrypts datagrams (DATA_V1 and DATA_V2) in place: pkts[i] becomes its inner
// packet, which lies in the same memory, or in memory of d until the next Open when decompression or
// fragments made it longer; nil when the datagram was dropped, a ping or another message to the session
// itself, or a fragment of a packet that is not whole yet. Open may use 16 bytes of the capacity behind a
// datagram, and restores them.
//
// It returns how many packets there are, and how many datagrams were authentic and not replayed, those to the
// session itself included: what a server needs to know before it believes that a client has moved to
// another address.
func (d *Data) Open(now time.Time, pkts [][]byte) (delivered, authentic int) {
	d.opening.Lock()
	defer d.opening.Unlock()
	d.opening.space.clear()
	ring := d.ring.Load()
	var bytes, broken int
	var used *dataKey
	for i, b := range pkts {
		pkts[i] = nil
		if len(b) == 0 || !wire.IsData(b[0]) {
			continue
		}
		key := ring.keys[b[0]&7]
		if key == nil {
			continue
		}
		if key != used { // nearly always one key per batch
			d.checkRecv(used)
			used = key
			key.recv.reap(now)
		}
		plain, ok := key.recv.open(b, &d.opening.scratch)
		if !ok {
			continue
		}
		authentic++
		d.opening.largest = max(d.opening.largest, len(b))
		if !key.opened.Load() {
			key.opened.Store(true)
		}
		if key == ring.newest && key != ring.send {
			// The peer uses it, so it has it: the answer goes out under it too.
			d.promote(key.id)
			d.signal()
			ring = d.ring.Load()
		}
		if !key.frame.idle() {
			if plain, ok = d.unframe(key, now, plain); !ok {
				broken++
				continue
			}
		}
		if d.forSession(plain, len(b)) {
			continue
		}
		pkts[i] = plain
		bytes += len(plain)
		delivered++
	}
	d.checkRecv(used)
	if authentic > 0 {
		d.opening.last = now
	}
	if delivered > 0 {
		d.rxPackets.Add(uint64(delivered))
		d.rxBytes.Add(uint64(bytes))
	}
	if lost := len(pkts) - authentic + broken; lost > 0 {
		d.dropped.Add(uint64(lost))
	}
	return delivered, authentic
}

// forSession consumes what is not an inner packet, but came in a datagram of size bytes.
func (d *Data) forSession(plain []byte, size int) bool {
	switch {
	case len(plain) == 0 || string(plain) == pingMagic:
		return true
	case len(plain) >= len(occMagic) && string(plain[:len(occMagic)]) == occMagic:
		if b := plain[len(occMagic):]; len(b) > 0 && d.occ(b, size) {
			d.signal()
		}
		return true
	}
	return false
}

// checkSend and checkRecv wake the Session when a direction of key is nearly
// used up. The caller holds the lock of that direction.
func (d *Data) checkSend(key *dataKey) {
	if key.send.worn() && !key.spent.Swap(true) {
		d.signal()
	}
}

func (d *Data) checkRecv(key *dataKey) {
	if key != nil && key.recv.worn() && !key.spent.Swap(true) {
		d.signal()
	}
}

func (d *Data) signal() {
	select {
	case d.wake <- struct{}{}:
	default: // it is awake already
	}
}

// Wake is signalled when the Session needs a Tick because of something that Open or
// Seal saw: the peer said goodbye, asked something or uses a new key, or a key is nearly used up.
func (d *Data) Wake() <-chan struct{} { return d.wake }

// Counters reads the counters; any goroutine.
func (d *Data) Counters() Counters {
	return Counters{
		RxBytes: d.rxBytes.Load(), TxBytes: d.txBytes.Load(),
		RxPackets: d.rxPackets.Load(), TxPackets: d.txPackets.Load(),
		Dropped: d.dropped.Load(),
	}
}
