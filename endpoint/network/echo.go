package network

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// echoKey is a ping flow: one ping command to one target.
type echoKey struct {
	client, dst netip.Addr
	id          uint16
}

// pinger opens ICMP sockets: unprivileged ones where the system lets this group
// (net.ipv4.ping_group_range), else raw ones where this is root.
type pinger struct {
	listen func(network, addr string) (*icmp.PacketConn, error)
}

func newPinger() pinger { return pinger{icmp.ListenPacket} }

// socket returns a socket for echo requests of one flow, and its identifier. raw
// sockets see every reply of the machine, so the identifier is checked; in the
// unprivileged kind the kernel puts in its own.
func (p pinger) socket(v4 bool, source netip.Addr) (conn *icmp.PacketConn, id uint16, raw bool, err error) {
	dgram, priv, addr := "udp4", "ip4:icmp", "0.0.0.0"
	if !v4 {
		dgram, priv, addr = "udp6", "ip6:ipv6-icmp", "::"
	}
	if source.IsValid() {
		addr = source.String()
	}
	conn, err1 := p.listen(dgram, addr)
	if err1 == nil {
		return conn, 0, false, nil
	}
	conn, err2 := p.listen(priv, addr)
	if err2 == nil {
		return conn, uint16(rand.Uint32()), true, nil
	}
	return nil, 0, false, errors.Join(err1, err2)
}

// echo handles an echo request from a client; packet is checked by classify and
// not kept. It does not wait for the network.
func (u *Userspace) echo(packet []byte) {
	var key echoKey
	var message []byte
	v4 := packet[0]>>4 == 4
	if v4 {
		ip := header.IPv4(packet)
		end := min(int(ip.TotalLength()), len(packet))
		if end < int(ip.HeaderLength())+header.ICMPv4MinimumSize {
			return
		}
		message = packet[ip.HeaderLength():end]
		key.client, key.dst = netip.AddrFrom4(ip.SourceAddress().As4()), netip.AddrFrom4(ip.DestinationAddress().As4())
		if checksum.Checksum(message, 0) != 0xffff {
			return
		}
	} else {
		ip := header.IPv6(packet)
		end := min(header.IPv6MinimumSize+int(ip.PayloadLength()), len(packet))
		if end < header.IPv6MinimumSize+header.ICMPv6MinimumSize {
			return
		}
		message = packet[header.IPv6MinimumSize:end]
		key.client, key.dst = netip.AddrFrom16(ip.SourceAddress().As16()), netip.AddrFrom16(ip.DestinationAddress().As16())
		sum := header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, ip.SourceAddress(), ip.DestinationAddress(), uint16(len(message)))
		if checksum.Checksum(message, sum) != 0xffff {
			return
		}
	}
	key.id = uint16(message[4])<<8 | uint16(message[5])
	seq, data := uint16(message[6])<<8|uint16(message[7]), message[8:]
	p := u.policy.Load()
	inDemo := p.demo && key.dst == DemoAddress() && p.egress.allows(protoICMP, key.client, netip.AddrPortFrom(key.dst, 0))
	if p.gateway[key.dst] || inDemo {
		u.echoReply(key, seq, data)
		return
	}
	conn := u.echoFlow(key)
	if conn == nil {
		return
	}
	var typ icmp.Type = ipv4.ICMPTypeEcho
	if !v4 {
		typ = ipv6.ICMPTypeEchoRequest
	}
	request, err := (&icmp.Message{Type: typ, Body: &icmp.Echo{ID: int(conn.id), Seq: int(seq), Data: data}}).Marshal(nil)
	if err != nil {
		return
	}
	var to net.Addr = &net.UDPAddr{IP: key.dst.AsSlice()}
	if conn.raw {
		to = &net.IPAddr{IP: key.dst.AsSlice()}
	}
	if _, err := conn.WriteTo(request, to); err != nil {
		u.log.Debug("ping was not sent", "client", key.client, "to", key.dst, "err", err)
	}
}

// echoConn is a ping flow's socket.
type echoConn struct {
	*icmp.PacketConn
	id  uint16
	raw bool
}

// Read and Write make it a net.Conn for flow; echoes use ReadFrom and WriteTo.
func (c *echoConn) Read(b []byte) (int, error)  { n, _, err := c.ReadFrom(b); return n, err }
func (c *echoConn) Write([]byte) (int, error)   { return 0, net.ErrWriteToConnected }
func (c *echoConn) RemoteAddr() (addr net.Addr) { return nil }

// echoFlow returns the flow's socket, opening it for its first packet; nil if refused.
func (u *Userspace) echoFlow(key echoKey) *echoConn {
	u.mu.Lock()
	f := u.echos[key]
	u.mu.Unlock()
	if f != nil {
		return f.conn.(*echoConn)
	}
	client, dst := netip.AddrPortFrom(key.client, key.id), netip.AddrPortFrom(key.dst, 0)
	ctx, f, err := u.begin("echo", client, dst)
	if err != nil {
		u.log.Debug("refused", "kind", "echo", "client", key.client, "to", key.dst, "why", err)
		return nil
	}
	socket, id, raw, err := u.ping.socket(key.dst.Is4(), u.policy.Load().source(key.client, key.dst, u.local))
	if err != nil {
		u.log.Debug("this system permits no ping", "client", key.client, "to", key.dst, "err", err)
		u.end(f)
		return nil
	}
	conn := &echoConn{socket, id, raw}
	u.mu.Lock()
	f.conn = conn
	u.echos[key] = f
	u.mu.Unlock()
	go func() {
		defer u.end(f)
		defer func() {
			u.mu.Lock()
			delete(u.echos, key)
			u.mu.Unlock()
		}()
		defer conn.Close()
		u.echoReplies(ctx, key, conn)
	}()
	return conn
}

// echoReplies brings the target's answers back until none came for the idle time.
func (u *Userspace) echoReplies(ctx context.Context, key echoKey, conn *echoConn) {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buf := make([]byte, 64<<10)
	proto, reply := 1, icmp.Type(ipv4.ICMPTypeEchoReply)
	if key.dst.Is6() {
		proto, reply = 58, ipv6.ICMPTypeEchoReply
	}
	idle := time.Now().Add(u.limits.EchoIdle)
	for {
		conn.SetReadDeadline(idle)
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if addrOf(from) != key.dst {
			continue
		}
		m, err := icmp.ParseMessage(proto, buf[:n])
		if err != nil || m.Type != reply {
			continue
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok || conn.raw && echo.ID != int(conn.id) {
			continue
		}
		idle = time.Now().Add(u.limits.EchoIdle)
		u.echoReply(key, uint16(echo.Seq), echo.Data)
	}
}

func addrOf(a net.Addr) netip.Addr {
	var ip net.IP
	switch a := a.(type) {
	case *net.UDPAddr:
		ip = a.IP
	case *net.IPAddr:
		ip = a.IP
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// echoReply sends an answer to the client, through the stack's link.
func (u *Userspace) echoReply(key echoKey, seq uint16, data []byte) {
	const ttl = 64
	n := header.ICMPv4MinimumSize + len(data)
	var b []byte
	var proto tcpip.NetworkProtocolNumber
	if key.dst.Is4() {
		b = make([]byte, header.IPv4MinimumSize+n)
		ip := header.IPv4(b)
		ip.Encode(&header.IPv4Fields{TotalLength: uint16(len(b)), TTL: ttl, Protocol: uint8(header.ICMPv4ProtocolNumber),
			SrcAddr: tcpip.AddrFrom4(key.dst.As4()), DstAddr: tcpip.AddrFrom4(key.client.As4())})
		ip.SetChecksum(^ip.CalculateChecksum())
		m := header.ICMPv4(b[header.IPv4MinimumSize:])
		m.SetType(header.ICMPv4EchoReply)
		m.SetIdent(key.id)
		m.SetSequence(seq)
		copy(m.Payload(), data)
		m.SetChecksum(^checksum.Checksum(m, 0))
		proto = header.IPv4ProtocolNumber
	} else {
		b = make([]byte, header.IPv6MinimumSize+n)
		src, dst := tcpip.AddrFrom16(key.dst.As16()), tcpip.AddrFrom16(key.client.As16())
		header.IPv6(b).Encode(&header.IPv6Fields{PayloadLength: uint16(n), TransportProtocol: header.ICMPv6ProtocolNumber,
			HopLimit: ttl, SrcAddr: src, DstAddr: dst})
		m := header.ICMPv6(b[header.IPv6MinimumSize:])
		m.SetType(header.ICMPv6EchoReply)
		m.SetIdent(key.id)
		m.SetSequence(seq)
		copy(m.Payload(), data)
		m.SetChecksum(^checksum.Checksum(m, header.PseudoHeaderChecksum(header.ICMPv6ProtocolNumber, src, dst, uint16(n))))
		proto = header.IPv6ProtocolNumber
	}
	if len(b) > u.link.MTU() {
		return // the request fitted, so this cannot be, unless the MTU shrank
	}
	if err := u.stack.WriteRawPacket(nic, proto, buffer.MakeWithData(b)); err != nil {
		u.log.Debug("ping answer was not sent", "client", key.client, "err", err)
	}
}
