package udp

import (
	"errors"
	"net"

	"golang.org/x/sys/windows"
)

// Windows cuts what is sent (USO) from Windows 10 2004 on, and joins what comes (URO) from Windows 11 on, where the
// driver of the network card does (IPPROTO_UDP socket options).

// newConn moves trains where this Windows does, which is found out here and again with each of them.
func newConn(c *net.UDPConn, o Options, connected, _ bool) (Conn, error) {
	cuts := optionErr(c, func(h windows.Handle) error {
		_, err := windows.GetsockoptInt(h, windows.IPPROTO_UDP, windows.UDP_SEND_MSG_SIZE)
		return err
	}) == nil
	return newMsgConn(newPortable(c, o, connected), dialect{
		level: windows.IPPROTO_UDP, cut: windows.UDP_SEND_MSG_SIZE, cutSize: 4, joined: windows.UDP_COALESCED_INFO,
		join: func(c *net.UDPConn, on bool) error {
			most := 0
			if on {
				most = maxTrain
			}
			return optionErr(c, func(h windows.Handle) error {
				return windows.SetsockoptInt(h, windows.IPPROTO_UDP, windows.UDP_RECV_MAX_COALESCED_SIZE, most)
			})
		},
		unable: func(err error) bool {
			return errors.Is(err, windows.WSAEOPNOTSUPP) || errors.Is(err, windows.WSAENOPROTOOPT) || errors.Is(err, windows.WSAEINVAL)
		},
		narrow: func(err error) bool { return errors.Is(err, windows.WSAEMSGSIZE) },
		// Drivers are known that join datagrams and do not say so. What comes in one piece over Ethernet is no longer.
		longest: 1500 - 28,
	}, cuts), nil
}

// optionErr runs f with the socket.
func optionErr(c *net.UDPConn, f func(windows.Handle) error) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(windows.Handle(fd)) })
	return errors.Join(err, failed)
}
