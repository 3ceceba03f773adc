package udp

import "golang.org/x/sys/windows"

// sendBy makes a socket send by the device with an index (IP_UNICAST_IF, IPV6_UNICAST_IF of ws2ipdef.h).
func sendBy(fd uintptr, index int, inet6 bool) error {
	level := windows.IPPROTO_IP
	if inet6 {
		level = windows.IPPROTO_IPV6
	}
	return windows.SetsockoptInt(windows.Handle(fd), level, optionUnicastIF, int(int32(unicastIF(uint32(index), inet6))))
}
