package ovpn

import "strings"

// Format says how the datagrams look, for people: the cipher, then what is not the usual
// ("AES-256-GCM epoch keys", "AES-256-CBC SHA256 stub-v2 fragment"). Empty before there are keys.
// Any goroutine.
func (d *Data) Format() string {
	key := d.ring.Load().newest
	if key == nil {
		return ""
	}
	f := key.format
	words := []string{f.cipher.Name}
	add := func(word string, there bool) {
		if there {
			words = append(words, word)
		}
	}
	add("(insecure)", f.cipher.Insecure)
	add(f.digest, f.digest != "" && !f.cipher.AEAD())
	add("epoch keys", f.epoch)
	add("DATA_V1", f.v1)
	add(f.compress, f.compress != "")
	add("fragment", f.fragment > 0)
	return strings.Join(words, " ")
}

// Insecure says whether the newest key is one of a cipher that protects too little (Cipher.Insecure).
// Any goroutine.
func (d *Data) Insecure() bool {
	key := d.ring.Load().newest
	return key != nil && key.format.cipher.Insecure
}
