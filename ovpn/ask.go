package ovpn

import (
	"crypto/rand"
	"encoding/binary"
	"sync/atomic"
	"time"
)

// Messages between the two sessions that travel as packets (openvpn's ping.c
// and occ.c). No IP packet begins like this.
const (
	pingMagic = "\x2a\x18\x7b\xf3\x64\x1e\xb4\xcb\x07\xed\x2d\x0a\x98\x1f\xc7\x48"
	occMagic  = "\x28\x7f\x34\x6b\xd4\xef\x7a\x81\x2d\x56\xb8\xd3\xaf\xc5\x45\x9c"

	occRequest     = 0 // send your options
	occReply       = 1 // here they are, with a NUL at the end
	occLoadRequest = 2 // send a datagram of this size (16 bits)
	occLoad        = 3 // here it is, filled with anything
	occMTURequest  = 4 // what were the longest datagrams?
	occMTUReply    = 5 // received and sent, 16 bits each
	occExit        = 6 // goodbye (explicit-exit-notify)
)

// maxLoad is the longest datagram that a peer may ask for: more than most paths carry
// whole, bytes.
const maxLoad = 1700

// pingPayload is a keepalive, for SealMessage.
func pingPayload() []byte { return []byte(pingMagic) }

// exitPayload says goodbye, for SealMessage.
func exitPayload() []byte { return occPayload(occExit) }

// occPayload is an OCC message, for SealMessage.
func occPayload(op byte, rest ...byte) []byte {
	b := make([]byte, 0, len(occMagic)+1+len(rest))
	return append(append(append(b, occMagic...), op), rest...)
}

// asked is what the peer wants to know. Open writes it, the Session answers: at most once for
// each question between two Ticks.
type asked struct {
	options, mtu atomic.Bool
	load         atomic.Uint32 // size of the datagram plus 1; 0 for none
}

// occ takes one message without its magic, which came in a datagram of size bytes, and says whether the
// Session must know.
func (d *Data) occ(b []byte, size int) bool {
	switch b[0] {
	case occRequest:
		return !d.asked.options.Swap(true)
	case occMTURequest:
		return !d.asked.mtu.Swap(true)
	case occLoadRequest:
		return len(b) >= 3 && d.asked.load.Swap(1+uint32(binary.BigEndian.Uint16(b[1:]))) == 0
	case occExit:
		return !d.exit.Swap(true)
	case occLoad:
		select {
		case d.loads <- size:
		default: // who asked has enough answers
		}
	}
	return false // answers to questions of ours
}

// LoadRequest is a datagram of size bytes, or a little less for the cipher's blocks, that asks the peer to send one
// of ask bytes, which Loads then tells (openvpn's --mtu-test, occ.c). An answer proves that datagrams of such
// sizes pass both ways. Not every peer answers, whatever the sizes. It is nil while the peer is not Ready, with fragments, which would be what passes, and
// where size is less than an empty request or more than maxLoad. Safe beside Seal.
func (d *Data) LoadRequest(now time.Time, size, ask int) []byte {
	key := d.ring.Load().send
	room := d.Payload(size) - len(occMagic) - 3
	if key == nil || key.format.fragment > 0 || room < 0 || size > maxLoad {
		return nil
	}
	// Who answers reads two bytes, and no further.
	rest := binary.BigEndian.AppendUint16(make([]byte, 0, 2+room), uint16(min(max(ask, 0), 1<<16-1)))
	return d.sealControl(now, occPayload(occLoadRequest, rest[:2+room]...))
}

// Loads gives the sizes in bytes of the datagrams that came for LoadRequest; those that nobody takes are forgotten.
// Peers count a datagram's bytes in their own ways: openvpn with the cipher of its configuration, not the one in use.
func (d *Data) Loads() <-chan int { return d.loads }

// answers are the messages that the peer asked for. options returns our options string.
func (d *Data) answers(options func() string) (messages [][]byte) {
	say := func(op byte, rest []byte) { messages = append(messages, occPayload(op, rest...)) }
	if d.asked.options.Swap(false) {
		say(occReply, append([]byte(options()), 0))
	}
	if d.asked.mtu.Swap(false) {
		received, sent := d.largest()
		say(occMTUReply, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, received), sent))
	}
	if n := d.asked.load.Swap(0); n > 0 {
		// Random bytes: what a peer or a modem can compress would not be that long.
		fill := make([]byte, max(d.Payload(min(int(n)-1, maxLoad))-len(occMagic)-1, 0))
		rand.Read(fill)
		say(occLoad, fill)
	}
	return messages
}

// largest are the longest authentic datagram received and the longest sent so far, bytes.
func (d *Data) largest() (received, sent uint16) {
	d.opening.Lock()
	received = uint16(min(d.opening.largest, 1<<16-1))
	d.opening.Unlock()
	d.sealing.Lock()
	sent = uint16(min(d.sealing.largest, 1<<16-1))
	d.sealing.Unlock()
	return received, sent
}
