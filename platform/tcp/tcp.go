// Package tcp makes system calls on TCP connections cheap where the system allows. It knows nothing of
// what they carry.
package tcp

import "net"

// Direct returns c, or a connection over it that moves bytes with fewer detours: its Read and Write go to the kernel
// without telling Go's scheduler, for which a call that carries much and never blocks looks like one that does. All
// else, deadlines and Close among it, is c's. As with c, one Read and one Write may run at once, and further
// ones wait.
func Direct(c net.Conn) net.Conn { return direct(c) }
