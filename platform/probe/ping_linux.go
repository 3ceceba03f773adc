package probe

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

// ping sends echo requests over a socket that needs no privilege (icmp(7), net.ipv4.ping_group_range). The kernel puts
// in the identifier and gives this socket the answers to it only.
func ping(ctx context.Context, dest netip.Addr, wait time.Duration) (Result, error) {
	r := Result{Method: "icmp"}
	f, err := pingSocket(dest)
	if err != nil {
		if errors.Is(err, errNoPing) {
			return r, err
		}
		r.Sent = 1 // the system decided before anything left
		_, err = r.judge(ctx, err)
		return r, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { _ = f.SetDeadline(time.Unix(1, 0)) })()
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails
	var sent [Count]time.Time
	for r.Sent < Count {
		m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{Seq: r.Sent, Data: token}}
		if dest.Is6() {
			m.Type = ipv6.ICMPTypeEchoRequest
		}
		b, err := m.Marshal(nil)
		if err != nil {
			return r, err
		}
		sent[r.Sent] = time.Now()
		_ = f.SetDeadline(sent[r.Sent].Add(wait))
		if ctx.Err() != nil {
			return r, ctx.Err()
		}
		r.Sent++
		_, err = f.Write(b)
		for err == nil {
			answer := make([]byte, 1500)
			var n int
			if n, err = f.Read(answer); err != nil {
				break
			}
			if seq, ok := echoReply(answer[:n], dest.Is4(), token); ok && seq < r.Sent {
				r.Outcome, r.RTT = Answered, time.Since(sent[seq])
				return r, nil
			}
		}
		if done, err := r.judge(ctx, err); done {
			return r, err
		}
	}
	return r, nil
}

// pingSocket is connected to dest: what routers say about it comes back as the error of a read (ip(7), IP_RECVERR).
func pingSocket(dest netip.Addr) (*os.File, error) {
	domain, proto, level, option := unix.AF_INET, unix.IPPROTO_ICMP, unix.IPPROTO_IP, unix.IP_RECVERR
	var to unix.Sockaddr
	if dest.Is6() {
		domain, proto, level, option = unix.AF_INET6, unix.IPPROTO_ICMPV6, unix.IPPROTO_IPV6, unix.IPV6_RECVERR
		six := &unix.SockaddrInet6{Addr: dest.As16()}
		if dest.Zone() != "" {
			device, err := net.InterfaceByName(dest.Zone())
			if err != nil {
				return nil, err
			}
			six.ZoneId = uint32(device.Index)
		}
		to = six
	} else {
		to = &unix.SockaddrInet4{Addr: dest.As4()}
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
	if err != nil {
		return nil, errNoPing
	}
	f := os.NewFile(uintptr(fd), "ping")
	if err := errors.Join(unix.SetsockoptInt(fd, level, option, 1), unix.Connect(fd, to)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// echoReply reads an ICMP echo reply with the token, and its sequence number.
func echoReply(b []byte, four bool, token []byte) (seq int, ok bool) {
	var want icmp.Type = ipv6.ICMPTypeEchoReply
	proto := unix.IPPROTO_ICMPV6
	if four {
		want, proto = ipv4.ICMPTypeEchoReply, unix.IPPROTO_ICMP
	}
	m, err := icmp.ParseMessage(proto, b)
	if err != nil || m.Type != want {
		return 0, false
	}
	echo, ok := m.Body.(*icmp.Echo)
	if !ok || !bytes.Equal(echo.Data, token) {
		return 0, false
	}
	return echo.Seq, true
}
