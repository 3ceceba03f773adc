package endpoint

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/framing"
	"github.com/adit-vpn/adit/ovpn/ovpntest"
)

// TestControlOvertakesData: a control packet does not wait behind all the data of a slow client, and no packet
// is torn or lost.
func TestControlOvertakesData(t *testing.T) {
	near, far := net.Pipe() // which holds nothing back: what is read is what was written
	defer far.Close()
	o := newStreamOut(near)
	const packets, size = 400, 1000
	for i := range packets {
		o.pending = framing.Append(o.pending, bytes.Repeat([]byte{byte(i), 1}, size/2))
	}
	var wg sync.WaitGroup
	wg.Go(o.run)
	defer wg.Wait()
	defer o.close()

	in := framing.NewReaderSize(far, 2*size) // one packet a read, or few
	data, after := 0, -1
	for data < packets || after < 0 {
		batch, err := in.ReadBatch(make([][]byte, 0, 1))
		if err != nil {
			t.Fatal(err)
		}
		b := batch[0]
		if len(b) == 3 && string(b) == "now" {
			after = data
			continue
		}
		if len(b) != size || b[0] != byte(data) || b[1] != 1 {
			t.Fatalf("packet %d came as %d bytes, %v", data, len(b), b[:min(4, len(b))])
		}
		if data++; data == 10 {
			if err := o.control([]byte("now")); err != nil {
				t.Fatal(err)
			}
		}
	}
	// It may meet one piece that is being written.
	if most := 10 + pieceSize/size + 1; after > most {
		t.Errorf("the control packet came after %d packets, want at most %d", after, most)
	}
}

// TestMessagesKeepTheirPlace: what the session says in the data channel leaves between the packets that were sealed before
// it and after it, however slow the client: it would refuse those that a later one has overtaken.
func TestMessagesKeepTheirPlace(t *testing.T) {
	pki := ovpntest.NewPKI(t)
	pair := ovpntest.NewPair(t, ovpn.Config{TLS: pki.ClientTLS("c"), Stream: true}, ovpn.Config{TLS: pki.ServerTLS(), Stream: true}, ovpntest.Noise{}, 1)
	if !pair.Run(time.Minute, pair.Up) {
		t.Fatal("the pair did not come up")
	}
	pair.Run(time.Second, pair.Server.Session.Data().Ready)
	session, client := pair.Server.Session, pair.Client.Session.Data()
	near, far := net.Pipe()
	defer far.Close()
	o := newStreamOut(near)
	p := &peer{data: session.Data(), stream: true, out: o}
	const run = 100
	seal := func() {
		var packets ovpn.List
		for range run {
			packets = append(packets, append([]byte{0x45}, make([]byte, 999)...))
		}
		if !o.seal(pair.Now, p.data, &packets) {
			t.Error("packets are refused")
		}
	}
	seal()
	var wg sync.WaitGroup
	wg.Go(o.run)
	defer wg.Wait()
	first := make([]byte, 1)
	if _, err := io.ReadFull(far, first); err != nil { // it is in the middle of that
		t.Fatal(err)
	}
	seal()
	if err := session.Probe(); err != nil {
		t.Fatal(err)
	}
	messages := 0
	for m := session.NextMessage(); m != nil; m = session.NextMessage() {
		messages++
		if err := p.say(pair.Now, m); err != nil {
			t.Fatal(err)
		}
	}
	if b := session.NextPacket(pair.Now); b != nil {
		t.Errorf("a packet of %d bytes beside them", len(b))
	}
	seal()
	o.close()
	in := framing.NewReader(io.MultiReader(bytes.NewReader(first), far))
	delivered, authentic := 0, 0
	for {
		batch, err := in.ReadBatch(make([][]byte, 0, runSize))
		d, a := client.Open(pair.Now, batch)
		delivered, authentic = delivered+d, authentic+a
		if err != nil {
			break
		}
	}
	if n := client.Counters().Dropped; delivered != 3*run || authentic != 3*run+messages || messages != 2 || n != 0 {
		t.Errorf("%d packets came, %d with the messages, of which there are %d; %d were refused", delivered, authentic, messages, n)
	}
}

// TestFailedStream takes nothing more.
func TestFailedStream(t *testing.T) {
	near, far := net.Pipe()
	o := newStreamOut(near)
	far.Close()
	if err := o.control([]byte("x")); err != nil {
		t.Fatal(err)
	}
	o.run() // ends by itself
	if err := o.control([]byte("y")); err == nil {
		t.Error("a packet for a connection that failed was taken")
	}
}

// TestUnreadAnswers: a client that reads no answers to its control packets loses its connection.
func TestUnreadAnswers(t *testing.T) {
	near, far := net.Pipe()
	o := newStreamOut(near)
	var wg sync.WaitGroup
	wg.Go(o.run)
	ack := make([]byte, 54)
	n := 0
	for n < 2*maxUrgent/len(ack)+2 && o.control(ack) == nil {
		n++
	}
	if most := 2 * maxUrgent / len(ack); n > most || n < maxUrgent/(len(ack)+framing.HeaderSize) {
		t.Errorf("%d packets were taken, at most %d were expected", n, most)
	}
	if err := o.control(ack); err == nil {
		t.Error("one more was taken")
	}
	o.close()
	far.Close()
	wg.Wait()
}

// TestQuietStream keeps its buffers while a stream varies, and gives them back when little comes.
func TestQuietStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer far.Close()
		o := newStreamOut(near)
		var wg sync.WaitGroup
		wg.Go(o.run)
		defer wg.Wait()
		defer o.close()
		in := framing.NewReader(far)
		pass := func(packets int) {
			o.mu.Lock()
			for range packets {
				o.pending = framing.Append(o.pending, make([]byte, 1000))
			}
			o.wake.Signal()
			o.mu.Unlock()
			for got := 0; got < packets; {
				batch, err := in.ReadBatch(make([][]byte, 0, 100))
				if err != nil {
					t.Fatal(err)
				}
				got += len(batch)
			}
			synctest.Wait()
		}
		room := func() int {
			o.mu.Lock()
			defer o.mu.Unlock()
			return cap(o.pending)
		}
		for _, packets := range []int{400, 400, 1, 2, 400, 1, 1} {
			pass(packets)
		}
		if n := room(); n < 400_000 {
			t.Errorf("in the middle of a stream there is a buffer of %d bytes: it is made again and again", n)
		}
		time.Sleep(quietTime + time.Millisecond)
		for range 3 {
			pass(1)
		}
		if n := room(); n > pieceSize {
			t.Errorf("the quiet client has a buffer of %d bytes", n)
		}
	})
}

// TestSlowReaderAtTheEnd: what is pending when a connection is closed has its time in all, not for each piece.
func TestSlowReaderAtTheEnd(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	o := newStreamOut(near)
	const packets, pace = 4000, 2 * time.Millisecond // four times as long as there is
	for range packets {
		o.pending = framing.Append(o.pending, make([]byte, 100))
	}
	o.close()
	var wg sync.WaitGroup
	wg.Go(o.run)
	defer wg.Wait()
	in, got := framing.NewReaderSize(far, 200), 0
	for {
		batch, err := in.ReadBatch(make([][]byte, 0, 1))
		if err != nil {
			break
		}
		got += len(batch)
		time.Sleep(pace)
	}
	if got == 0 || got >= packets {
		t.Errorf("%d of %d packets were read", got, packets)
	}
}
