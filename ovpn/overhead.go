package ovpn

// The arithmetic of sizes, in bytes, as openvpn does it (mtu.c, mss.c, crypto.c
// calculate_crypto_overhead): both ends must cut and announce alike.

// head is the part of a datagram before the packet id, the IV and the HMAC.
func (f dataFormat) head() int {
	if f.v1 {
		return 1
	}
	return 4
}

// outer is what stands outside the ciphertext of a datagram with a block mode, and all that is
// added by the others.
func (f dataFormat) outer() int {
	c := f.cipher
	_, mac, _ := LookupDigest(f.digest)
	switch {
	case f.epoch:
		return f.head() + epochIDLen + tagLen
	case c.AEAD():
		return f.head() + 4 + tagLen
	case c.mode == modeNone:
		return f.head() + mac + 4
	}
	return f.head() + mac + c.block
}

// inside is what stands before a packet within the ciphertext, the packet id of CBC apart.
func (f dataFormat) inside() int {
	n := 0
	switch f.compress {
	case "lzo-no", "lzo", "stub", "lz4":
		n = 1 // the other framings mark only what no IP packet begins with
	}
	if f.fragment > 0 {
		n += fragmentHeader
	}
	return n
}

// text is the longest plaintext, packet id of CBC not counted, in a datagram of size bytes.
func (f dataFormat) text(size int) int {
	size -= f.outer()
	if f.cipher.mode == modeCBC {
		return size/f.cipher.block*f.cipher.block - 1 - 4 // one byte of padding at least
	}
	return size
}

// payload is the longest packet that fits into one datagram of size bytes.
func (f dataFormat) payload(size int) int { return f.text(size) - f.inside() }

// overhead is what one datagram adds to a packet at most.
func (f dataFormat) overhead() int {
	n := f.outer() + f.inside()
	if f.compress == "stub-v2" || f.compress == "lz4-v2" {
		n += 2
	}
	if f.cipher.mode == modeCBC {
		n += 4 + f.cipher.block
	}
	return n
}
