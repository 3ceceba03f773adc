package manifest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"aead.dev/minisign"
)

// Suffix is what a signature's file adds to the name of the signed one, as minisign does.
const Suffix = ".minisig"

// MaxKey bounds the text of a key and of a signature, in bytes.
const MaxKey = 4096

// Key is a public key. The zero value is none.
type Key struct{ key *minisign.PublicKey }

// ParseKey reads minisign's public key: the file's two lines, or the second alone (RW…).
func ParseKey(text []byte) (Key, error) {
	if len(text) > MaxKey {
		return Key{}, errors.New("this is no public key of minisign: it is too long")
	}
	text = bytes.TrimSpace(text)
	if i := bytes.LastIndexByte(text, '\n'); i >= 0 { // what is above is a comment that nobody vouches for
		text = text[i+1:]
	}
	if _, err := base64.StdEncoding.DecodeString(string(text)); err != nil {
		return Key{}, errors.New("this is no public key of minisign: one line of it begins with RW")
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText(text); err != nil {
		return Key{}, errors.New("this is no public key of minisign: one line of it begins with RW")
	}
	return Key{&key}, nil
}

// String is the key in one line, as ParseKey reads it.
func (k Key) String() string {
	if k.key == nil {
		return ""
	}
	return k.key.String()
}

// ID is how minisign names the key; empty for none.
func (k Key) ID() string {
	if k.key == nil {
		return ""
	}
	return id(k.key.ID())
}

func id(n uint64) string { return fmt.Sprintf("%X", n) }

// Open verifies the signature of a manifest, and only then reads it.
func Open(text, signature []byte, key Key) (Manifest, error) {
	if len(text) > MaxSize {
		return Manifest{}, fmt.Errorf("the manifest is larger than %d bytes", MaxSize)
	}
	if key.key == nil {
		return Manifest{}, errors.New("there is no key to verify the manifest with")
	}
	if len(signature) > MaxKey {
		return Manifest{}, errors.New("the signature is none of minisign: it is too long")
	}
	var s minisign.Signature
	if err := s.UnmarshalText(signature); err != nil {
		return Manifest{}, errors.New("the signature is none of minisign")
	}
	if s.KeyID != key.key.ID() {
		return Manifest{}, fmt.Errorf("the manifest was signed with the key %s, and not with %s", id(s.KeyID), key.ID())
	}
	if !minisign.Verify(*key.key, text, signature) {
		return Manifest{}, fmt.Errorf("the signature does not match: the manifest was changed, or not signed with the key %s", key.ID())
	}
	return Parse(text)
}

// Sign makes the signature's file for the text of a manifest. It is deterministic; the comment is signed, too.
func Sign(text []byte, key minisign.PrivateKey, comment string) ([]byte, error) {
	r := minisign.NewReader(bytes.NewReader(text))
	if _, err := bytes.NewBuffer(nil).ReadFrom(r); err != nil {
		return nil, err
	}
	public := key.Public().(minisign.PublicKey)
	return r.SignWithComments(key, comment, "signature of "+id(public.ID())), nil
}

// Public is the public half.
func Public(key minisign.PrivateKey) Key {
	public := key.Public().(minisign.PublicKey)
	return Key{&public}
}
