// Package radius is a client of RADIUS servers for one purpose: to ask whether a user
// knows a password or a one-time code (RFC 2865; MS-CHAP of RFC 2548). Every request carries a
// Message-Authenticator as its first attribute, and every answer must have one unless that is
// switched off: without, a machine in between can forge answers (CVE-2024-3596, "BlastRADIUS").
//
// Client is safe for concurrent use and starts no goroutines.
package radius

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Codes of packets.
const (
	codeRequest   = 1
	codeAccept    = 2
	codeReject    = 3
	codeChallenge = 11
)

// Types of attributes.
const (
	attrUserName       = 1
	attrUserPassword   = 2
	attrCHAPPassword   = 3
	attrReplyMessage   = 18
	attrState          = 24
	attrVendor         = 26
	attrSessionTimeout = 27
	attrCallingStation = 31
	attrNASIdentifier  = 32
	attrCHAPChallenge  = 60
	attrNASPortType    = 61
	attrPrompt         = 76
	attrAuthenticator  = 80 // Message-Authenticator
)

const (
	headerLen  = 20
	maxPacket  = 4096
	maxValue   = 253 // of one attribute
	virtual    = 5   // NAS-Port-Type
	passwordAt = 16  // block of User-Password
)

// attribute is one attribute of a packet; value aliases it.
type attribute struct {
	kind  byte
	value []byte
}

// request is an Access-Request in the making.
type request struct {
	b      []byte
	secret []byte
}

// newRequest begins a request; the place of the Message-Authenticator comes first, where
// nothing that an attacker chooses stands before it.
func newRequest(id byte, authenticator [16]byte, secret []byte) *request {
	r := &request{b: make([]byte, headerLen, 512), secret: secret}
	r.b[0], r.b[1] = codeRequest, id
	copy(r.b[4:], authenticator[:])
	r.add(attrAuthenticator, make([]byte, md5.Size))
	return r
}

// add appends an attribute; the caller keeps values within maxValue.
func (r *request) add(kind byte, value []byte) {
	r.b = append(append(r.b, kind, byte(2+len(value))), value...)
}

func (r *request) number(kind byte, v uint32) { r.add(kind, binary.BigEndian.AppendUint32(nil, v)) }

// vendor appends one of Microsoft's attributes.
func (r *request) vendor(kind byte, value []byte) {
	v := binary.BigEndian.AppendUint32(nil, microsoft)
	r.add(attrVendor, append(append(v, kind, byte(2+len(value))), value...))
}

// password hides a password (RFC 2865 §5.2): 1 to 128 bytes.
func (r *request) password(p []byte) {
	padded := make([]byte, (len(p)+passwordAt-1)/passwordAt*passwordAt)
	copy(padded, p)
	last := r.b[4:headerLen]
	for i := 0; i < len(padded); i += passwordAt {
		h := md5.New()
		h.Write(r.secret)
		h.Write(last)
		block := padded[i : i+passwordAt]
		subtle.XORBytes(block, block, h.Sum(nil))
		last = block
	}
	r.add(attrUserPassword, padded)
}

// bytes is the finished packet.
func (r *request) bytes() []byte {
	binary.BigEndian.PutUint16(r.b[2:], uint16(len(r.b)))
	mac := hmac.New(md5.New, r.secret)
	mac.Write(r.b)
	copy(r.b[headerLen+2:], mac.Sum(nil))
	return r.b
}

// What is wrong with an answer. Such answers are dropped, and named when no good one comes.
var (
	errMalformed      = errors.New("malformed")
	errOther          = errors.New("not the answer to our request")
	errAuthenticator  = errors.New("wrong response authenticator (is the shared secret right?)")
	errMessageAuth    = errors.New("wrong Message-Authenticator (is the shared secret right?)")
	errNoMessageAuth  = errors.New("no Message-Authenticator, so that it may be forged (CVE-2024-3596): update the RADIUS server")
	errTwoMessageAuth = errors.New("more than one Message-Authenticator")
)

// reply is a checked answer.
type reply struct {
	code       byte
	attributes []attribute
}

// parseReply reads and checks the answer to sent. It changes nothing in b.
func parseReply(b, sent, secret []byte, needMessageAuth bool) (reply, error) {
	if len(b) < headerLen {
		return reply{}, fmt.Errorf("%w: %d bytes", errMalformed, len(b))
	}
	length := int(binary.BigEndian.Uint16(b[2:]))
	if length < headerLen || length > maxPacket || length > len(b) {
		return reply{}, fmt.Errorf("%w: length %d of %d bytes", errMalformed, length, len(b))
	}
	b = b[:length] // what follows is padding
	if b[1] != sent[1] {
		return reply{}, fmt.Errorf("%w: identifier %d, not %d", errOther, b[1], sent[1])
	}
	switch b[0] {
	case codeAccept, codeReject, codeChallenge:
	default:
		return reply{}, fmt.Errorf("%w: code %d", errOther, b[0])
	}
	r := reply{code: b[0]}
	at := -1 // of the value of the Message-Authenticator
	for i := headerLen; i < length; {
		if length-i < 2 || b[i+1] < 2 || int(b[i+1]) > length-i {
			return reply{}, fmt.Errorf("%w: attribute at byte %d", errMalformed, i)
		}
		n := int(b[i+1])
		if b[i] == attrAuthenticator {
			if at >= 0 {
				return reply{}, errTwoMessageAuth
			}
			if n != 2+md5.Size {
				return reply{}, fmt.Errorf("%w: Message-Authenticator of %d bytes", errMalformed, n-2)
			}
			at = i + 2
		}
		r.attributes = append(r.attributes, attribute{b[i], b[i+2 : i+n]})
		i += n
	}
	h := md5.New()
	h.Write(b[:4])
	h.Write(sent[4:headerLen])
	h.Write(b[headerLen:])
	h.Write(secret)
	if subtle.ConstantTimeCompare(h.Sum(nil), b[4:headerLen]) != 1 {
		return reply{}, errAuthenticator
	}
	if at < 0 {
		if needMessageAuth {
			return reply{}, errNoMessageAuth
		}
		return r, nil
	}
	mac := hmac.New(md5.New, secret)
	mac.Write(b[:4])
	mac.Write(sent[4:headerLen])
	mac.Write(b[headerLen:at])
	mac.Write(make([]byte, md5.Size))
	mac.Write(b[at+md5.Size:])
	if !hmac.Equal(mac.Sum(nil), b[at:at+md5.Size]) {
		return reply{}, errMessageAuth
	}
	return r, nil
}

// first is the value of the first attribute of a kind, nil if there is none.
func (r *reply) first(kind byte) []byte {
	for _, a := range r.attributes {
		if a.kind == kind {
			return a.value
		}
	}
	return nil
}

// number is an attribute's value as a number.
func (r *reply) number(kind byte) (uint32, bool) {
	v := r.first(kind)
	if len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// vendor is the value of the first of Microsoft's attributes of a kind, nil if there is none.
func (r *reply) vendor(kind byte) []byte {
	for _, a := range r.attributes {
		v := a.value
		if a.kind != attrVendor || len(v) < 4 || binary.BigEndian.Uint32(v) != microsoft {
			continue
		}
		for v = v[4:]; len(v) >= 2 && int(v[1]) >= 2 && int(v[1]) <= len(v); v = v[v[1]:] {
			if v[0] == kind {
				return v[2:v[1]]
			}
		}
	}
	return nil
}
