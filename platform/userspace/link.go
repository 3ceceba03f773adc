package userspace

import (
	"os"
	"sync"
	"sync/atomic"

	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/offload"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
)

const (
	// linkQueue is how many packets wait for Read before further ones are dropped,
	// as in the queue of a real network card.
	linkQueue = 2048
	// linkBatch is how many packets one Read or Write moves well, and linkBudget the bytes after
	// which a Read takes no further one.
	linkBatch  = 128
	linkBudget = 128 << 10
	// maxSuper is the longest super-packet, headers included.
	maxSuper = 65535
)

// Link joins an IP stack to a packet pump. Towards the pump it is a platform.TUN:
// Read gives what the stack sends, Write injects what the stack is to receive.
// Towards the stack it is a link endpoint without link addresses:
//
//	link := userspace.NewLink(1500)
//	err := stack.CreateNIC(1, link.Endpoint())
//
// All methods may be called from any goroutine, but only one may Read and one may Write at a time.
type Link struct {
	endpoint linkEndpoint

	mu      sync.Mutex
	arrived sync.Cond             // signals that queue is no longer empty, or closed
	queue   []*stack.PacketBuffer // a ring; each holds one reference
	head    int
	length  int
	closed  bool
	dropped uint64 // packets that found the ring full

	// reading is Read's own list of packets taken from the ring, and buf what they are copied to.
	reading [linkBatch]*stack.PacketBuffer
	buf     []byte

	// joiner and parts are Write's.
	joiner offload.Joiner
	parts  [][]byte
}

var _ platform.TUN = (*Link)(nil)

// NewLink returns a link whose packets, IP header included, are at most mtu bytes.
func NewLink(mtu int) *Link {
	l := &Link{queue: make([]*stack.PacketBuffer, linkQueue), joiner: offload.Joiner{TCP: true, Unverified: true}}
	l.arrived.L = &l.mu
	l.endpoint.link = l
	l.endpoint.mtu.Store(uint32(mtu))
	return l
}

// Endpoint is the side for stack.CreateNIC. It stays the same.
func (l *Link) Endpoint() stack.LinkEndpoint { return &l.endpoint }

// Read implements platform.TUN.
func (l *Link) Read(pkts []offload.Packet) (int, error) {
	for {
		taken := l.take(min(len(pkts), linkBatch))
		if taken == 0 {
			return 0, os.ErrClosed
		}
		l.buf = l.buf[:0]
		n := 0
		for i, packet := range l.reading[:taken] {
			l.reading[i] = nil
			at := len(l.buf)
			for _, part := range packet.AsSlices() {
				l.buf = append(l.buf, part...)
			}
			b := l.buf[at:len(l.buf):len(l.buf)] // those before keep their memory when buf grows
			var ok bool
			if pkts[n], ok = sent(b, packet.GSOOptions); ok {
				n++
			}
			packet.DecRef()
		}
		if n > 0 {
			return n, nil
		}
	}
}

// sent is what the stack sent: a packet, whose checksum may be missing, or a super-packet.
func sent(b []byte, gso stack.GSO) (offload.Packet, bool) {
	if gso.Type != stack.GSOTCPv4 && gso.Type != stack.GSOTCPv6 {
		return offload.Packet{Bytes: b}, true
	}
	ip := int(gso.L3HdrLen)
	if p, ok := offload.Super(b, ip, int(gso.MSS), false); ok {
		return p, true
	}
	return offload.Packet{Bytes: b}, !gso.NeedsCsum || offload.Complete(b, ip, int(gso.CsumOffset))
}

// take waits for packets and moves up to limit of them to l.reading; 0 means closed.
func (l *Link) take(limit int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.length == 0 && !l.closed {
		l.arrived.Wait()
	}
	if l.closed {
		return 0
	}
	n := 0
	for size := 0; n < limit && l.length > 0 && size < linkBudget; n++ {
		size += l.queue[l.head].Size()
		l.reading[n] = l.queue[l.head]
		l.queue[l.head] = nil
		l.head = (l.head + 1) % len(l.queue)
		l.length--
	}
	return n
}

// Write implements platform.TUN. What is not an IP packet is dropped, and everything is while no
// stack is attached.
func (l *Link) Write(pkts [][]byte) (int, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return 0, os.ErrClosed
	}
	dispatcher := l.endpoint.attached()
	if dispatcher == nil {
		return len(pkts), nil
	}
	runs := l.joiner.Join(pkts)
	for i := range runs {
		l.parts = l.joiner.Parts(l.parts[:0], &runs[i])
		protocol, ok := networkProtocol(l.parts[0])
		if !ok {
			continue
		}
		size := 0
		for _, part := range l.parts {
			size += len(part)
		}
		view := buffer.NewViewSize(size)
		to := view.AsSlice()
		for _, part := range l.parts {
			to = to[copy(to, part):]
		}
		packet := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
		dispatcher.DeliverNetworkPacket(protocol, packet)
		packet.DecRef()
	}
	return len(pkts), nil
}

func networkProtocol(b []byte) (tcpip.NetworkProtocolNumber, bool) {
	switch {
	case len(b) == 0:
	case b[0]>>4 == 4:
		return header.IPv4ProtocolNumber, true
	case b[0]>>4 == 6:
		return header.IPv6ProtocolNumber, true
	}
	return 0, false
}

// BatchSize implements platform.TUN.
func (l *Link) BatchSize() int { return linkBatch }

// Name implements platform.TUN: there is no device.
func (l *Link) Name() string { return "" }

// MTU implements platform.TUN.
func (l *Link) MTU() int { return int(l.endpoint.mtu.Load()) }

// SetMTU changes the largest packet that the stack sends from now on. Open TCP
// connections keep the segment size that they agreed on.
func (l *Link) SetMTU(mtu int) { l.endpoint.mtu.Store(uint32(mtu)) }

// Dropped is how many packets were lost because Read did not keep up.
func (l *Link) Dropped() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dropped
}

// Close wakes Read, drops what is queued and makes the link lose everything from
// then on. The stack stays as it is. It may be called more than once.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for ; l.length > 0; l.length-- {
		l.queue[l.head].DecRef()
		l.queue[l.head] = nil
		l.head = (l.head + 1) % len(l.queue)
	}
	l.arrived.Broadcast()
	return nil
}

// send queues packets that the stack wrote, and returns how many.
func (l *Link) send(packets []*stack.PacketBuffer) (int, tcpip.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, &tcpip.ErrClosedForSend{}
	}
	n := min(len(packets), len(l.queue)-l.length)
	for i, packet := range packets[:n] {
		l.queue[(l.head+l.length+i)%len(l.queue)] = packet.IncRef()
	}
	if l.length == 0 && n > 0 {
		l.arrived.Signal()
	}
	l.length += n
	if n < len(packets) {
		l.dropped += uint64(len(packets) - n)
		return n, &tcpip.ErrNoBufferSpace{}
	}
	return n, nil
}

// linkEndpoint is the stack's side of a Link. Method names and results are
// those that gVisor asks for, some of which differ from platform.TUN's.
type linkEndpoint struct {
	link *Link
	mtu  atomic.Uint32

	mu         sync.RWMutex
	dispatcher stack.NetworkDispatcher
}

var (
	_ stack.LinkEndpoint = (*linkEndpoint)(nil)
	_ stack.GSOEndpoint  = (*linkEndpoint)(nil)
)

func (e *linkEndpoint) attached() stack.NetworkDispatcher {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.dispatcher
}

// WritePackets queues packets for Link.Read; it never waits, because the stack
// calls it with locks held that the reader's side may need.
func (e *linkEndpoint) WritePackets(packets stack.PacketBufferList) (int, tcpip.Error) {
	return e.link.send(packets.AsSlice())
}

func (e *linkEndpoint) Attach(dispatcher stack.NetworkDispatcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dispatcher = dispatcher
}

func (e *linkEndpoint) IsAttached() bool { return e.attached() != nil }

func (e *linkEndpoint) MTU() uint32       { return e.mtu.Load() }
func (e *linkEndpoint) SetMTU(mtu uint32) { e.mtu.Store(mtu) }

// SupportedGSO lets TCP hand down super-packets, which whoever reads them cuts.
func (e *linkEndpoint) SupportedGSO() stack.SupportedGSO { return stack.HostGSOSupported }
func (e *linkEndpoint) GSOMaxSize() uint32               { return maxSuper }

func (e *linkEndpoint) Capabilities() stack.LinkEndpointCapabilities { return 0 }
func (e *linkEndpoint) MaxHeaderLength() uint16                      { return 0 }
func (e *linkEndpoint) LinkAddress() tcpip.LinkAddress               { return "" }
func (e *linkEndpoint) SetLinkAddress(tcpip.LinkAddress)             {}
func (e *linkEndpoint) ARPHardwareType() header.ARPHardwareType      { return header.ARPHardwareNone }
func (e *linkEndpoint) AddHeader(*stack.PacketBuffer)                {}
func (e *linkEndpoint) ParseHeader(*stack.PacketBuffer) bool         { return true }
func (e *linkEndpoint) Wait()                                        {}
func (e *linkEndpoint) SetOnCloseAction(func())                      {}

// Close is called when the stack removes the interface.
func (e *linkEndpoint) Close() { _ = e.link.Close() }
