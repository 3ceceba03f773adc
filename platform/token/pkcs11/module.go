//go:build linux || darwin

// Package pkcs11 speaks to tokens through a vendor's PKCS#11 module (OASIS PKCS #11 2.40, "Cryptoki")
// without cgo: github.com/ebitengine/purego loads the shared library. A program that links it is linked
// dynamically on Linux, and runs whatever code the module has: that is why it is a program of its own.
package pkcs11

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/platform/token"
)

// Positions in CK_FUNCTION_LIST, after the version (pkcs11f.h).
const (
	fnInitialize        = 0
	fnFinalize          = 1
	fnGetSlotList       = 4
	fnGetTokenInfo      = 6
	fnOpenSession       = 12
	fnLogin             = 18
	fnGetAttributeValue = 24
	fnFindObjectsInit   = 26
	fnFindObjects       = 27
	fnFindObjectsFinal  = 28
	fnSignInit          = 42
	fnSign              = 43
	functions           = 68
)

// Constants of pkcs11t.h.
const (
	classCertificate = 1
	classPrivateKey  = 3

	attrClass        = 0x000
	attrLabel        = 0x003
	attrValue        = 0x011
	attrKind         = 0x080 // CKA_CERTIFICATE_TYPE
	attrID           = 0x102
	attrAlwaysAsk    = 0x202 // CKA_ALWAYS_AUTHENTICATE
	unavailable      = ^uintptr(0)
	serialSession    = 4
	userNormal       = 1
	userContext      = 2
	flagLogin        = 0x4
	flagOwnPad       = 0x100 // CKF_PROTECTED_AUTHENTICATION_PATH: the PIN is typed at the reader
	flagInitialized  = 0x400
	flagLastTry      = 0x20000
	flagLocked       = 0x40000
	mechRSA          = 0x001
	mechPSS          = 0x00d
	mechECDSA        = 0x1041
	okay             = 0
	alreadyRunning   = 0x191
	alreadyLoggedIn  = 0x100
	pinIncorrect     = 0xa0
	pinInvalid       = 0xa1
	pinLength        = 0xa2
	pinLocked        = 0xa4
	mechanismInvalid = 0x70
)

const (
	maxSlots   = 64
	maxObjects = 256
	maxValue   = 64 << 10 // bytes of an attribute
)

// Module is a loaded module; it implements token.Module. One goroutine at a time may use it.
type Module struct {
	fn [functions]uintptr

	session uintptr
	id      token.ID
	pin     push.Secret // for keys that want it at each signature
	always  bool
	ownPad  bool
	key     uintptr
}

// Load opens the shared library at path and starts it. The library cannot be unloaded again.
func Load(path string) (token.Module, error) {
	library, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("cannot load the module: %w", err)
	}
	get, err := purego.Dlsym(library, "C_GetFunctionList")
	if err != nil {
		return nil, fmt.Errorf("%s is not a PKCS#11 module", path)
	}
	type functionList struct {
		version [2]byte
		fn      [functions]uintptr
	}
	list := new(*functionList)
	if r, _, _ := purego.SyscallN(get, uintptr(unsafe.Pointer(list))); r != okay || *list == nil {
		return nil, fmt.Errorf("the module does not say what it can do (0x%x)", r)
	}
	m := &Module{fn: (*list).fn}
	if r := m.call(fnInitialize, 0); r != okay && r != alreadyRunning {
		return nil, fmt.Errorf("the module does not start (0x%x)", r)
	}
	return m, nil
}

// call calls a function of the module. What the arguments point to is moved to the heap, and kept until the module returns, but
// only where the conversion to uintptr stands in the call itself: go:uintptrescapes sees no further. (purego.SyscallN's own does
// not reach through this function.)
//
//go:uintptrescapes
func (m *Module) call(fn int, args ...uintptr) uintptr {
	r, _, _ := purego.SyscallN(m.fn[fn], args...)
	return r
}

// Close ends the module's work, and with it the session.
func (m *Module) Close() { m.call(fnFinalize, 0) }

// Find implements token.Module.
func (m *Module) Find(want token.ID) (token.Info, error) {
	slots, err := m.slots()
	if err != nil {
		return token.Info{}, err
	}
	type found struct {
		info    token.Info
		session uintptr
		ownPad  bool
	}
	var all []found
	for _, slot := range slots {
		id, flags, ok := m.token(slot)
		if !ok || flags&flagInitialized == 0 || !(token.ID{Manufacturer: want.Manufacturer, Model: want.Model, Serial: want.Serial, Token: want.Token}).Matches(id) {
			continue
		}
		session := new(uintptr)
		if r := m.call(fnOpenSession, slot, serialSession, 0, 0, uintptr(unsafe.Pointer(session))); r != okay {
			continue
		}
		objects, err := m.objects(*session, attribute(attrClass, classCertificate), attribute(attrKind, 0))
		if err != nil {
			return token.Info{}, err
		}
		for _, o := range objects {
			x := id
			x.Key, x.Object = m.value(*session, o, attrID), string(m.value(*session, o, attrLabel))
			der := m.value(*session, o, attrValue)
			if len(x.Key) == 0 || len(der) == 0 || !want.Matches(x) {
				continue
			}
			if flags&flagLocked != 0 {
				return token.Info{}, token.ErrLocked
			}
			all = append(all, found{token.Info{ID: x, Certificate: der, LastTry: flags&flagLastTry != 0,
				NeedsPIN: flags&flagLogin != 0 && flags&flagOwnPad == 0}, *session, flags&flagOwnPad != 0})
		}
	}
	switch len(all) {
	case 0:
		return token.Info{}, token.ErrNotFound
	case 1:
		m.session, m.id, m.ownPad = all[0].session, all[0].info.ID, all[0].ownPad
		return all[0].info, nil
	}
	several := &token.AmbiguousError{}
	for _, x := range all {
		several.IDs = append(several.IDs, x.info.ID)
	}
	return token.Info{}, several
}

// slots lists the slots with a token.
func (m *Module) slots() ([]uintptr, error) {
	list, n := make([]uintptr, maxSlots), new(uintptr)
	*n = maxSlots
	if r := m.call(fnGetSlotList, 1, uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(n))); r != okay || *n > maxSlots {
		return nil, fmt.Errorf("the module does not list its tokens (0x%x)", r)
	}
	return list[:*n], nil
}

// token reads CK_TOKEN_INFO.
func (m *Module) token(slot uintptr) (id token.ID, flags uintptr, ok bool) {
	info := new(struct {
		label, manufacturer [32]byte
		model, serial       [16]byte
		flags               uintptr
		rest                [128]byte
	})
	if m.call(fnGetTokenInfo, slot, uintptr(unsafe.Pointer(info))) != okay {
		return token.ID{}, 0, false
	}
	text := func(b []byte) string { return strings.TrimRight(string(b), " \x00") }
	return token.ID{Token: text(info.label[:]), Manufacturer: text(info.manufacturer[:]), Model: text(info.model[:]), Serial: text(info.serial[:])}, info.flags, true
}

// ckAttribute is CK_ATTRIBUTE.
type ckAttribute struct {
	kind  uintptr
	value unsafe.Pointer
	size  uintptr
}

func attribute(kind, value uintptr) ckAttribute {
	v := new(uintptr)
	*v = value
	return ckAttribute{kind, unsafe.Pointer(v), unsafe.Sizeof(*v)}
}

// objects finds the objects with these attributes.
func (m *Module) objects(session uintptr, with ...ckAttribute) ([]uintptr, error) {
	template := append([]ckAttribute(nil), with...)
	defer pin(template)()
	if r := m.call(fnFindObjectsInit, session, uintptr(unsafe.Pointer(&template[0])), uintptr(len(template))); r != okay {
		return nil, fmt.Errorf("the token cannot be searched (0x%x)", r)
	}
	defer m.call(fnFindObjectsFinal, session)
	list, n := make([]uintptr, maxObjects), new(uintptr)
	if r := m.call(fnFindObjects, session, uintptr(unsafe.Pointer(&list[0])), maxObjects, uintptr(unsafe.Pointer(n))); r != okay || *n > maxObjects {
		return nil, fmt.Errorf("the token cannot be searched (0x%x)", r)
	}
	return list[:*n], nil
}

// value reads one attribute; nil when there is none.
func (m *Module) value(session, object, kind uintptr) []byte {
	template := []ckAttribute{{kind: kind}}
	if m.call(fnGetAttributeValue, session, object, uintptr(unsafe.Pointer(&template[0])), 1) != okay {
		return nil
	}
	size := template[0].size
	if size == 0 || size == unavailable || size > maxValue {
		return nil
	}
	b := make([]byte, size)
	template[0].value = unsafe.Pointer(&b[0])
	defer pin(template)()
	if m.call(fnGetAttributeValue, session, object, uintptr(unsafe.Pointer(&template[0])), 1) != okay || template[0].size > size {
		return nil
	}
	return b[:template[0].size]
}

// pin keeps what a template points to in its place; call the result when the module has returned.
func pin(template []ckAttribute) func() {
	var p runtime.Pinner
	for _, a := range template {
		if a.value != nil {
			p.Pin(a.value)
		}
	}
	return p.Unpin
}

// Login implements token.Module.
func (m *Module) Login(pin push.Secret) error {
	if m.session == 0 {
		return token.ErrNotFound
	}
	if pin != "" || m.ownPad {
		if err := m.login(userNormal, pin); err != nil {
			return err
		}
	}
	id := m.id.Key
	keys, err := m.objects(m.session, attribute(attrClass, classPrivateKey), ckAttribute{attrID, unsafe.Pointer(&id[0]), uintptr(len(id))})
	switch {
	case err != nil:
		return err
	case len(keys) == 0:
		return errors.New("the token shows no private key for the certificate")
	}
	m.key, m.pin = keys[0], pin
	always := m.value(m.session, m.key, attrAlwaysAsk)
	m.always = bytes.Equal(always, []byte{1})
	return nil
}

func (m *Module) login(user uintptr, pin push.Secret) error {
	var r uintptr
	if m.ownPad {
		r = m.call(fnLogin, m.session, user, 0, 0)
	} else {
		b := append([]byte(pin.Reveal()), 0) // not empty
		r = m.call(fnLogin, m.session, user, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)-1))
		clear(b)
	}
	switch r {
	case okay, alreadyLoggedIn:
		return nil
	case pinIncorrect, pinInvalid, pinLength:
		return token.ErrPIN
	case pinLocked:
		return token.ErrLocked
	}
	return fmt.Errorf("the token does not take the PIN (0x%x)", r)
}

// Sign implements token.Module.
func (m *Module) Sign(scheme string, hash crypto.Hash, digest []byte) ([]byte, error) {
	if m.key == 0 {
		return nil, errors.New("no key is open")
	}
	mechanism := new(struct {
		kind  uintptr
		value unsafe.Pointer
		size  uintptr
	})
	data := bytes.Clone(digest)
	switch scheme {
	case token.SchemePKCS1:
		prefix, ok := digestInfo(hash)
		if !ok {
			return nil, fmt.Errorf("%v is not supported", hash)
		}
		mechanism.kind, data = mechRSA, append(prefix, digest...)
	case token.SchemePSS:
		params := new(struct{ hash, mask, salt uintptr })
		switch hash {
		case crypto.SHA256:
			params.hash, params.mask = 0x250, 2
		case crypto.SHA384:
			params.hash, params.mask = 0x260, 3
		case crypto.SHA512:
			params.hash, params.mask = 0x270, 4
		default:
			return nil, fmt.Errorf("%v is not supported", hash)
		}
		params.salt = uintptr(hash.Size())
		mechanism.kind, mechanism.value, mechanism.size = mechPSS, unsafe.Pointer(params), unsafe.Sizeof(*params)
		var p runtime.Pinner
		p.Pin(params)
		defer p.Unpin()
	case token.SchemeECDSA:
		mechanism.kind = mechECDSA
	default:
		return nil, fmt.Errorf("scheme %q is not known", scheme)
	}
	switch r := m.call(fnSignInit, m.session, uintptr(unsafe.Pointer(mechanism)), m.key); r {
	case okay:
	case mechanismInvalid:
		return nil, fmt.Errorf("it has no signatures of kind %s", scheme)
	default:
		return nil, fmt.Errorf("it refuses to sign (0x%x)", r)
	}
	if m.always {
		if err := m.login(userContext, m.pin); err != nil {
			return nil, err
		}
	}
	signature, n := make([]byte, 2048), new(uintptr)
	*n = uintptr(len(signature))
	r := m.call(fnSign, m.session, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)), uintptr(unsafe.Pointer(&signature[0])), uintptr(unsafe.Pointer(n)))
	if r != okay || *n == 0 || *n > uintptr(len(signature)) {
		return nil, fmt.Errorf("it failed to sign (0x%x)", r)
	}
	signature = signature[:*n]
	if scheme != token.SchemeECDSA {
		return signature, nil
	}
	half := len(signature) / 2 // PKCS#11 has r and s side by side
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(signature[:half]), new(big.Int).SetBytes(signature[half:])})
}

// digestInfo is the head of a DigestInfo (RFC 8017, 9.2, note 1).
func digestInfo(hash crypto.Hash) ([]byte, bool) {
	switch hash {
	case crypto.SHA1:
		return []byte("\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14"), true
	case crypto.SHA256:
		return []byte("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"), true
	case crypto.SHA384:
		return []byte("\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"), true
	case crypto.SHA512:
		return []byte("\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"), true
	}
	return nil, false
}
