package wfp

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unsafe"
)

// The structures of fwptypes.h and fwpmtypes.h as they lie in memory on 64-bit Windows (testdata/layout.txt has the
// sizes and offsets from the headers). Unions are as large as theirs.
type (
	// displayData0 is FWPM_DISPLAY_DATA0.
	displayData0 struct{ name, description *uint16 }
	// byteBlob is FWP_BYTE_BLOB.
	byteBlob struct {
		size uint32
		data *byte
	}
	// value0 is FWP_VALUE0 and FWP_CONDITION_VALUE0. Its number may be a pointer: what it points to is in an arena.
	value0 struct {
		kind   uint32
		number uintptr
	}
	// v4Mask is FWP_V4_ADDR_AND_MASK, in the machine's byte order.
	v4Mask struct{ addr, mask uint32 }
	// v6Mask is FWP_V6_ADDR_AND_MASK.
	v6Mask struct {
		addr [16]byte
		bits uint8
	}
	// condition0 is FWPM_FILTER_CONDITION0.
	condition0 struct {
		field guid
		match uint32
		value value0
	}
	// action0 is FWPM_ACTION0.
	action0 struct {
		kind uint32
		key  guid
	}
	// session0 is FWPM_SESSION0.
	session0 struct {
		key      guid
		display  displayData0
		flags    uint32
		wait     uint32 // milliseconds
		process  uint32
		sid      unsafe.Pointer
		username *uint16
		kernel   uint32
	}
	// provider0 is FWPM_PROVIDER0.
	provider0 struct {
		key     guid
		display displayData0
		flags   uint32
		data    byteBlob
		service *uint16
	}
	// sublayer0 is FWPM_SUBLAYER0.
	sublayer0 struct {
		key      guid
		display  displayData0
		flags    uint32
		provider *guid
		data     byteBlob
		weight   uint16
	}
	// sublayerTemplate0 is FWPM_SUBLAYER_ENUM_TEMPLATE0.
	sublayerTemplate0 struct{ provider *guid }
	// filter0 is FWPM_FILTER0.
	filter0 struct {
		key        guid
		display    displayData0
		flags      uint32
		provider   *guid
		data       byteBlob
		layer      guid
		sublayer   guid
		weight     value0
		count      uint32
		conditions *condition0
		action     action0
		context    [2]uint64
		reserved   *guid
		id         uint64
		effective  value0
	}
	// filterTemplate0 is FWPM_FILTER_ENUM_TEMPLATE0.
	filterTemplate0 struct {
		provider   *guid
		layer      guid
		kind       uint32
		flags      uint32
		context    unsafe.Pointer
		count      uint32
		conditions *condition0
		actions    uint32
		callout    *guid
	}
)

// Numbers of fwptypes.h and fwpmtypes.h.
const (
	isUint8      = 1
	isUint16     = 2
	isUint32     = 3
	isUint64     = 4
	isBlob       = 12
	isDescriptor = 14
	isV4Mask     = 0x100
	isV6Mask     = 0x101

	matchEqual  = 0
	matchAllSet = 6

	actionBlock  = 0x1001
	actionPermit = 0x1002

	providerPersistent = 1
	sublayerPersistent = 1
	filterPersistent   = 1
	filterBoot         = 2
	filterDisabled     = 0x20

	enumWithBoot     = 8
	enumWithDisabled = 16
	enumAnyAction    = 0xffffffff
)

// arena keeps alive what numbers in structures point to. It is needed until the call that reads them has returned.
type arena struct{ kept []any }

// hold keeps v on the heap and is its address, as a number that the filtering engine takes.
func hold[T any](a *arena, v *T) uintptr {
	a.kept = append(a.kept, v)
	return uintptr(unsafe.Pointer(v))
}

func text(s string) *uint16 {
	u := append(utf16.Encode([]rune(s)), 0)
	return &u[0]
}

func blob(b []byte) byteBlob {
	if len(b) == 0 {
		return byteBlob{}
	}
	return byteBlob{uint32(len(b)), &b[0]}
}

// newProvider makes ours.
func newProvider(service string) *provider0 {
	p := &provider0{key: provider, display: displayData0{name: text("Adit")}, flags: providerPersistent}
	if service != "" {
		p.service = text(service)
	}
	return p
}

// newSublayer makes one. All of ours have the greatest weight: no permit of another program comes before their blocks. Their order among
// each other is of no meaning, because a block in any is final and a permit in one is none in the next.
func newSublayer(s sublayer) *sublayer0 {
	key := provider
	return &sublayer0{key: s.key, display: displayData0{name: text(s.name)}, flags: sublayerPersistent, provider: &key, data: blob(s.data), weight: 0xffff}
}

// filter makes one. Descriptor is a security descriptor, self-relative, that lets only one SID match.
func (a *arena) filter(key guid, f filter, descriptor func(sid string) ([]byte, error)) (*filter0, error) {
	owner := provider
	out := &filter0{key: key, display: displayData0{name: text("Adit: " + f.name)}, flags: filterPersistent, provider: &owner, data: blob(f.data),
		layer: layerKeys[f.layer], sublayer: f.sublayer, weight: value0{isUint8, uintptr(f.weight)}, action: action0{kind: actionPermit}}
	if f.boot {
		out.flags = filterBoot
	}
	if f.block {
		out.action.kind = actionBlock
	}
	var cs []condition0
	for _, c := range f.conditions {
		made, err := a.condition(c, descriptor)
		if err != nil {
			return nil, err
		}
		cs = append(cs, made)
	}
	if len(cs) > 0 {
		out.count, out.conditions = uint32(len(cs)), &cs[0]
	}
	return out, nil
}

func (a *arena) condition(c condition, descriptor func(sid string) ([]byte, error)) (condition0, error) {
	out := condition0{field: fieldKeys[c.field], match: matchEqual}
	switch c.field {
	case flags:
		out.match, out.value = matchAllSet, value0{isUint32, uintptr(c.value.number)}
	case program:
		held := blob([]byte(c.value.text))
		out.value = value0{isBlob, hold(a, &held)}
	case user:
		sd, err := descriptor(c.value.text)
		if err != nil {
			return out, fmt.Errorf("user %q: %w", c.value.text, err)
		}
		held := blob(sd)
		out.value = value0{isDescriptor, hold(a, &held)}
	case protocol:
		out.value = value0{isUint8, uintptr(c.value.number)}
	case remotePort, localPort:
		out.value = value0{isUint16, uintptr(c.value.number)}
	case device, outDevice:
		luid := c.value.number
		out.value = value0{isUint64, hold(a, &luid)}
	case remote, local, target:
		p := c.value.prefix
		if p.Addr().Is4() {
			ip := p.Addr().As4()
			out.value = value0{isV4Mask, hold(a, &v4Mask{binary.BigEndian.Uint32(ip[:]), ^uint32(0) << (32 - p.Bits())})}
		} else {
			out.value = value0{isV6Mask, hold(a, &v6Mask{p.Addr().As16(), uint8(p.Bits())})}
		}
	}
	return out, nil
}

// bytes copies what the filtering engine gave.
func (b byteBlob) bytes() []byte {
	if b.data == nil || b.size == 0 || b.size > 2*maxNotes {
		return nil
	}
	return append([]byte(nil), unsafe.Slice(b.data, b.size)...)
}

func (s *sublayer0) read() sublayer { return sublayer{key: s.key, data: s.data.bytes()} }

// read: boot-time filters are out of force while somebody can ask, whatever their flags say.
func (f *filter0) read() placed {
	return placed{key: f.key, sublayer: f.sublayer, data: f.data.bytes(), disabled: f.flags&(filterBoot|filterDisabled) == filterDisabled}
}
