// Package tcp makes TCP connections fit for a tunnel where the system allows: cheap system calls, short queues. It
// knows nothing of what they carry.
package tcp

import "net"

// unsent is how many bytes wait in the kernel for the network, beside those that are on their way (tcp(7),
// TCP_NOTSENT_LOWAT): a control packet or a ping has to wait for all of them.
const unsent = 128 << 10

// Direct returns c, or a connection over it that moves bytes with fewer detours. Its Read and Write go to the
// kernel without telling Go's scheduler, for which a call that carries much looks like one that blocks, and
// the kernel is given little more than the network takes. All else, deadlines and Close among it, is c's. As
// with c, one Read and one Write may run at once, and further ones wait.
func Direct(c net.Conn) net.Conn { return direct(c) }
