package udp

import "golang.org/x/sys/unix"

// sendBy makes a socket send by the device with an index (IP_BOUND_IF, IPV6_BOUND_IF of netinet/in.h).
func sendBy(fd uintptr, index int, inet6 bool) error {
	if inet6 {
		return unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_BOUND_IF, index)
	}
	return unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BOUND_IF, index)
}
