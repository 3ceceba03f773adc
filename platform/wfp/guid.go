package wfp

import "crypto/sha256"

// guid is a GUID as it lies in memory on Windows.
type guid struct {
	a uint32
	b uint16
	c uint16
	d [8]byte
}

// provider is the key of our provider: whatever has it is ours, whoever made it.
var provider = guid{0x1fb8392c, 0xf1f2, 0x435e, [8]byte{0xb0, 0x43, 0xfe, 0xe6, 0xd4, 0x38, 0x0e, 0x85}}

// sublayerKey is the key of the guard of a Host whose journal is in dir; the same in each run (RFC 9562, version 8).
func sublayerKey(dir, name string) (g guid) {
	sum := sha256.Sum256([]byte("adit guard\x00" + dir + "\x00" + name))
	return guidOf([16]byte(sum[:16]))
}

// guidOf makes a version 8 UUID of random bytes.
func guidOf(b [16]byte) guid {
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return readGUID(b)
}

// bytes is g in the order in which it is written.
func (g guid) bytes() []byte {
	return append([]byte{byte(g.a >> 24), byte(g.a >> 16), byte(g.a >> 8), byte(g.a), byte(g.b >> 8), byte(g.b), byte(g.c >> 8), byte(g.c)}, g.d[:]...)
}

// readGUID is the inverse of bytes.
func readGUID(b [16]byte) guid {
	g := guid{a: uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3]), b: uint16(b[4])<<8 | uint16(b[5]), c: uint16(b[6])<<8 | uint16(b[7])}
	copy(g.d[:], b[8:])
	return g
}

// layer is a place in the network stack where filters decide.
type layer uint8

const (
	connect4 layer = iota // the first packet of a connection that this machine begins; later ones follow its verdict until filters change
	connect6
	accept4 // the same of one that others begin
	accept6
	forward4 // each packet that is passed on for others
	forward6
	inbound4 // each packet that arrives, before anything is done with it
	inbound6
	layers
)

// layerKeys and fieldKeys are the names of fwpmu.h of the Windows SDK 10, which mingw's lacks.
var layerKeys = [layers]guid{
	connect4: {0xc38d57d1, 0x05a7, 0x4c33, [8]byte{0x90, 0x4f, 0x7f, 0xbc, 0xee, 0xe6, 0x0e, 0x82}}, // FWPM_LAYER_ALE_AUTH_CONNECT_V4
	connect6: {0x4a72393b, 0x319f, 0x44bc, [8]byte{0x84, 0xc3, 0xba, 0x54, 0xdc, 0xb3, 0xb6, 0xb4}}, // FWPM_LAYER_ALE_AUTH_CONNECT_V6
	accept4:  {0xe1cd9fe7, 0xf4b5, 0x4273, [8]byte{0x96, 0xc0, 0x59, 0x2e, 0x48, 0x7b, 0x86, 0x50}}, // FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V4
	accept6:  {0xa3b42c97, 0x9f04, 0x4672, [8]byte{0xb8, 0x7e, 0xce, 0xe9, 0xc4, 0x83, 0x25, 0x7f}}, // FWPM_LAYER_ALE_AUTH_RECV_ACCEPT_V6
	forward4: {0xa82acc24, 0x4ee1, 0x4ee1, [8]byte{0xb4, 0x65, 0xfd, 0x1d, 0x25, 0xcb, 0x10, 0xa4}}, // FWPM_LAYER_IPFORWARD_V4
	forward6: {0x7b964818, 0x19c7, 0x493a, [8]byte{0xb7, 0x1f, 0x83, 0x2c, 0x36, 0x84, 0xd2, 0x8c}}, // FWPM_LAYER_IPFORWARD_V6
	inbound4: {0xc86fd1bf, 0x21cd, 0x497e, [8]byte{0xa0, 0xbb, 0x17, 0x42, 0x5c, 0x88, 0x5c, 0x58}}, // FWPM_LAYER_INBOUND_IPPACKET_V4
	inbound6: {0xf52032cb, 0x991c, 0x46e7, [8]byte{0x97, 0x1d, 0x26, 0x01, 0x45, 0x9a, 0x91, 0xca}}, // FWPM_LAYER_INBOUND_IPPACKET_V6
}

// field is what a condition looks at.
type field uint8

const (
	flags      field = iota
	program          // its file, as the system calls it
	user             // its token
	protocol         // above IP
	remote           // address
	remotePort       // and, of ICMP, the code
	localPort        // and, of ICMP, the type
	local            // address
	device           // of the local address; at inbound the one that the packet came in by
	outDevice        // by which a packet is passed on
	target           // address to which one is passed on
	fields
)

var fieldKeys = [fields]guid{
	flags:      {0x632ce23b, 0x5167, 0x435c, [8]byte{0x86, 0xd7, 0xe9, 0x03, 0x68, 0x4a, 0xa8, 0x0c}}, // FWPM_CONDITION_FLAGS
	program:    {0xd78e1e87, 0x8644, 0x4ea5, [8]byte{0x94, 0x37, 0xd8, 0x09, 0xec, 0xef, 0xc9, 0x71}}, // FWPM_CONDITION_ALE_APP_ID
	user:       {0xaf043a0a, 0xb34d, 0x4f86, [8]byte{0x97, 0x9c, 0xc9, 0x03, 0x71, 0xaf, 0x6e, 0x66}}, // FWPM_CONDITION_ALE_USER_ID
	protocol:   {0x3971ef2b, 0x623e, 0x4f9a, [8]byte{0x8c, 0xb1, 0x6e, 0x79, 0xb8, 0x06, 0xb9, 0xa7}}, // FWPM_CONDITION_IP_PROTOCOL
	remote:     {0xb235ae9a, 0x1d64, 0x49b8, [8]byte{0xa4, 0x4c, 0x5f, 0xf3, 0xd9, 0x09, 0x50, 0x45}}, // FWPM_CONDITION_IP_REMOTE_ADDRESS
	remotePort: {0xc35a604d, 0xd22b, 0x4e1a, [8]byte{0x91, 0xb4, 0x68, 0xf6, 0x74, 0xee, 0x67, 0x4b}}, // FWPM_CONDITION_IP_REMOTE_PORT
	localPort:  {0x0c1ba1af, 0x5765, 0x453f, [8]byte{0xaf, 0x22, 0xa8, 0xf7, 0x91, 0xac, 0x77, 0x5b}}, // FWPM_CONDITION_IP_LOCAL_PORT
	local:      {0xd9ee00de, 0xc1ef, 0x4617, [8]byte{0xbf, 0xe3, 0xff, 0xd8, 0xf5, 0xa0, 0x89, 0x57}}, // FWPM_CONDITION_IP_LOCAL_ADDRESS
	device:     {0x4cd62a49, 0x59c3, 0x4969, [8]byte{0xb7, 0xf3, 0xbd, 0xa5, 0xd3, 0x28, 0x90, 0xa4}}, // FWPM_CONDITION_IP_LOCAL_INTERFACE
	outDevice:  {0x1076b8a5, 0x6323, 0x4c5e, [8]byte{0x98, 0x10, 0xe8, 0xd3, 0xfc, 0x9e, 0x61, 0x36}}, // FWPM_CONDITION_IP_FORWARD_INTERFACE
	target:     {0x2d79133b, 0xb390, 0x45c6, [8]byte{0x86, 0x99, 0xac, 0xac, 0xea, 0xaf, 0xed, 0x33}}, // FWPM_CONDITION_IP_DESTINATION_ADDRESS
}
