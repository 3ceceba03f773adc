package wfp

import (
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unsafe"
)

// TestLayout compares the structures with the headers': testdata/layout.txt is what testdata/layout.c printed. They are the
// same on every 64-bit system.
func TestLayout(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Fatal("the structures are those of 64-bit systems")
	}
	var (
		g  guid
		d  displayData0
		b  byteBlob
		v  value0
		v4 v4Mask
		v6 v6Mask
		c  condition0
		a  action0
		s  session0
		p  provider0
		l  sublayer0
		lt sublayerTemplate0
		f  filter0
		ft filterTemplate0
	)
	have := map[string]uintptr{
		"GUID": unsafe.Sizeof(g), "GUID.Data2": unsafe.Offsetof(g.b), "GUID.Data3": unsafe.Offsetof(g.c), "GUID.Data4": unsafe.Offsetof(g.d),
		"FWPM_DISPLAY_DATA0": unsafe.Sizeof(d), "FWPM_DISPLAY_DATA0.name": unsafe.Offsetof(d.name), "FWPM_DISPLAY_DATA0.description": unsafe.Offsetof(d.description),
		"FWP_BYTE_BLOB": unsafe.Sizeof(b), "FWP_BYTE_BLOB.size": unsafe.Offsetof(b.size), "FWP_BYTE_BLOB.data": unsafe.Offsetof(b.data),
		"FWP_VALUE0": unsafe.Sizeof(v), "FWP_VALUE0.type": unsafe.Offsetof(v.kind), "FWP_VALUE0.uint64": unsafe.Offsetof(v.number),
		"FWP_CONDITION_VALUE0": unsafe.Sizeof(v), "FWP_CONDITION_VALUE0.type": unsafe.Offsetof(v.kind), "FWP_CONDITION_VALUE0.v4AddrMask": unsafe.Offsetof(v.number),
		"FWP_V4_ADDR_AND_MASK": unsafe.Sizeof(v4), "FWP_V4_ADDR_AND_MASK.addr": unsafe.Offsetof(v4.addr), "FWP_V4_ADDR_AND_MASK.mask": unsafe.Offsetof(v4.mask),
		"FWP_V6_ADDR_AND_MASK": unsafe.Sizeof(v6), "FWP_V6_ADDR_AND_MASK.addr": unsafe.Offsetof(v6.addr), "FWP_V6_ADDR_AND_MASK.prefixLength": unsafe.Offsetof(v6.bits),
		"FWPM_FILTER_CONDITION0": unsafe.Sizeof(c), "FWPM_FILTER_CONDITION0.fieldKey": unsafe.Offsetof(c.field), "FWPM_FILTER_CONDITION0.matchType": unsafe.Offsetof(c.match), "FWPM_FILTER_CONDITION0.conditionValue": unsafe.Offsetof(c.value),
		"FWPM_ACTION0": unsafe.Sizeof(a), "FWPM_ACTION0.type": unsafe.Offsetof(a.kind), "FWPM_ACTION0.filterType": unsafe.Offsetof(a.key),
		"FWPM_SESSION0": unsafe.Sizeof(s), "FWPM_SESSION0.sessionKey": unsafe.Offsetof(s.key), "FWPM_SESSION0.displayData": unsafe.Offsetof(s.display), "FWPM_SESSION0.flags": unsafe.Offsetof(s.flags), "FWPM_SESSION0.txnWaitTimeoutInMSec": unsafe.Offsetof(s.wait),
		"FWPM_SESSION0.processId": unsafe.Offsetof(s.process), "FWPM_SESSION0.sid": unsafe.Offsetof(s.sid), "FWPM_SESSION0.username": unsafe.Offsetof(s.username), "FWPM_SESSION0.kernelMode": unsafe.Offsetof(s.kernel),
		"FWPM_PROVIDER0": unsafe.Sizeof(p), "FWPM_PROVIDER0.providerKey": unsafe.Offsetof(p.key), "FWPM_PROVIDER0.displayData": unsafe.Offsetof(p.display), "FWPM_PROVIDER0.flags": unsafe.Offsetof(p.flags), "FWPM_PROVIDER0.providerData": unsafe.Offsetof(p.data), "FWPM_PROVIDER0.serviceName": unsafe.Offsetof(p.service),
		"FWPM_SUBLAYER0": unsafe.Sizeof(l), "FWPM_SUBLAYER0.subLayerKey": unsafe.Offsetof(l.key), "FWPM_SUBLAYER0.displayData": unsafe.Offsetof(l.display), "FWPM_SUBLAYER0.flags": unsafe.Offsetof(l.flags),
		"FWPM_SUBLAYER0.providerKey": unsafe.Offsetof(l.provider), "FWPM_SUBLAYER0.providerData": unsafe.Offsetof(l.data), "FWPM_SUBLAYER0.weight": unsafe.Offsetof(l.weight),
		"FWPM_SUBLAYER_ENUM_TEMPLATE0": unsafe.Sizeof(lt), "FWPM_SUBLAYER_ENUM_TEMPLATE0.providerKey": unsafe.Offsetof(lt.provider),
		"FWPM_FILTER0": unsafe.Sizeof(f), "FWPM_FILTER0.filterKey": unsafe.Offsetof(f.key), "FWPM_FILTER0.displayData": unsafe.Offsetof(f.display), "FWPM_FILTER0.flags": unsafe.Offsetof(f.flags), "FWPM_FILTER0.providerKey": unsafe.Offsetof(f.provider),
		"FWPM_FILTER0.providerData": unsafe.Offsetof(f.data), "FWPM_FILTER0.layerKey": unsafe.Offsetof(f.layer), "FWPM_FILTER0.subLayerKey": unsafe.Offsetof(f.sublayer), "FWPM_FILTER0.weight": unsafe.Offsetof(f.weight),
		"FWPM_FILTER0.numFilterConditions": unsafe.Offsetof(f.count), "FWPM_FILTER0.filterCondition": unsafe.Offsetof(f.conditions), "FWPM_FILTER0.action": unsafe.Offsetof(f.action), "FWPM_FILTER0.rawContext": unsafe.Offsetof(f.context),
		"FWPM_FILTER0.reserved": unsafe.Offsetof(f.reserved), "FWPM_FILTER0.filterId": unsafe.Offsetof(f.id), "FWPM_FILTER0.effectiveWeight": unsafe.Offsetof(f.effective),
		"FWPM_FILTER_ENUM_TEMPLATE0": unsafe.Sizeof(ft), "FWPM_FILTER_ENUM_TEMPLATE0.providerKey": unsafe.Offsetof(ft.provider), "FWPM_FILTER_ENUM_TEMPLATE0.layerKey": unsafe.Offsetof(ft.layer), "FWPM_FILTER_ENUM_TEMPLATE0.enumType": unsafe.Offsetof(ft.kind),
		"FWPM_FILTER_ENUM_TEMPLATE0.flags": unsafe.Offsetof(ft.flags), "FWPM_FILTER_ENUM_TEMPLATE0.providerContextTemplate": unsafe.Offsetof(ft.context), "FWPM_FILTER_ENUM_TEMPLATE0.numFilterConditions": unsafe.Offsetof(ft.count),
		"FWPM_FILTER_ENUM_TEMPLATE0.filterCondition": unsafe.Offsetof(ft.conditions), "FWPM_FILTER_ENUM_TEMPLATE0.actionMask": unsafe.Offsetof(ft.actions), "FWPM_FILTER_ENUM_TEMPLATE0.calloutKey": unsafe.Offsetof(ft.callout),
	}
	text, err := os.ReadFile("testdata/layout.txt")
	must(t, err)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	for _, line := range lines {
		name, number, _ := strings.Cut(line, " ")
		want, err := strconv.Atoi(number)
		must(t, err)
		if got, ok := have[name]; !ok || got != uintptr(want) {
			t.Errorf("%s: %d, want %d", name, got, want)
		}
	}
	if len(lines) != len(have) {
		t.Errorf("%d lines for %d numbers", len(lines), len(have))
	}
}

// TestEncode: a filter of each kind of value, as the engine reads it.
func TestEncode(t *testing.T) {
	sub := guidOf([16]byte{1})
	sd := []byte("a descriptor")
	descriptor := func(sid string) ([]byte, error) { return append(slices.Clone(sd), sid...), nil }
	f := filter{sublayer: sub, data: []byte("data"), layer: connect4, weight: own, name: "née", conditions: slices.Concat(
		[]condition{{program, value{text: "a\x00b\x00"}}, {user, value{text: service}}}, either(protocol, udp, tcp),
		[]condition{{remote, value{prefix: netip.MustParsePrefix("198.51.100.4/30")}}, {remote, value{prefix: netip.MustParsePrefix("2001:db8::/33")}}},
		either(remotePort, 1194), either(device, tunnel), either(flags, isLoopback))}
	var a arena
	got, err := a.filter(guidOf([16]byte{2}), f, descriptor)
	must(t, err)
	if got.key != guidOf([16]byte{2}) || *got.provider != provider || got.layer != layerKeys[connect4] || got.sublayer != sub || got.flags != filterPersistent || got.action.kind != actionPermit {
		t.Errorf("%+v", got)
	}
	if got.weight != (value0{isUint8, uintptr(own)}) || string(got.data.bytes()) != "data" || got.count != uint32(len(f.conditions)) {
		t.Errorf("%+v", got)
	}
	if name := utf16.Decode(unsafe.Slice(got.display.name, 10)); string(name) != "Adit: née\x00" {
		t.Errorf("name %q", string(name))
	}
	cs := unsafe.Slice(got.conditions, got.count)
	for i, c := range cs {
		if want := fieldKeys[f.conditions[i].field]; c.field != want {
			t.Errorf("condition %d: field %x, want %x", i, c.field, want)
		}
		if want := map[bool]uint32{false: matchEqual, true: matchAllSet}[f.conditions[i].field == flags]; c.match != want {
			t.Errorf("condition %d: match %d, want %d", i, c.match, want)
		}
	}
	held := func(i int) any { return a.kept[i] } // in the order of conditions whose value is a pointer
	for i, want := range []value0{2: {isUint8, udp}, 3: {isUint8, tcp}, 6: {isUint16, 1194}, 8: {isUint32, isLoopback}} {
		if want.kind != 0 && cs[i].value != want {
			t.Errorf("condition %d: %+v, want %+v", i, cs[i].value, want)
		}
	}
	for i, kind := range map[int]uint32{0: isBlob, 1: isDescriptor, 4: isV4Mask, 5: isV6Mask, 7: isUint64} {
		if cs[i].value.kind != kind {
			t.Errorf("condition %d is of type %d, want %d", i, cs[i].value.kind, kind)
		}
	}
	if b := held(0).(*byteBlob); string(b.bytes()) != "a\x00b\x00" || cs[0].value.number != uintptr(unsafe.Pointer(b)) {
		t.Errorf("program %q", b.bytes())
	}
	if b := held(1).(*byteBlob); string(b.bytes()) != "a descriptor"+service {
		t.Errorf("user %q", b.bytes())
	}
	if v := held(2).(*v4Mask); *v != (v4Mask{0xc6336404, 0xfffffffc}) {
		t.Errorf("IPv4: %x", *v)
	}
	if v := held(3).(*v6Mask); *v != (v6Mask{netip.MustParseAddr("2001:db8::").As16(), 33}) {
		t.Errorf("IPv6: %x", *v)
	}
	if v := held(4).(*uint64); *v != tunnel {
		t.Errorf("device %x", *v)
	}
	back := got.read()
	if back.key != got.key || back.sublayer != sub || string(back.data) != "data" {
		t.Errorf("read back: %+v", back)
	}

	for flags, disabled := range map[uint32]bool{filterPersistent: false, filterPersistent | filterDisabled: true, filterBoot | filterDisabled: false} {
		if got := (&filter0{flags: flags}).read(); got.disabled != disabled {
			t.Errorf("flags %#x: disabled %t", flags, got.disabled)
		}
	}

	f = filter{layer: forward6, weight: closed, block: true, boot: true, name: "x"}
	got, err = a.filter(guid{}, f, descriptor)
	must(t, err)
	if got.flags != filterBoot || got.action.kind != actionBlock || got.count != 0 || got.conditions != nil || got.data.data != nil {
		t.Errorf("%+v", got)
	}
	p := newProvider("aditd")
	if p.key != provider || p.flags != providerPersistent || string(utf16.Decode(unsafe.Slice(p.service, 6))) != "aditd\x00" {
		t.Errorf("%+v", p)
	}
	l := newSublayer(sublayer{sub, "Adit one", []byte("{}")})
	if l.key != sub || *l.provider != provider || l.flags != sublayerPersistent || l.weight != 0xffff || string(l.read().data) != "{}" {
		t.Errorf("%+v", l)
	}
}

// TestGUID: keys are read as they are written, and are UUIDs of version 8.
func TestGUID(t *testing.T) {
	g := sublayerKey("d", "one")
	if readGUID([16]byte(g.bytes())) != g || g.c>>12 != 8 || g.d[0]>>6 != 2 {
		t.Errorf("%x", g.bytes())
	}
	if other := sublayerKey("done", ""); other == g || sublayerKey("d", "two") == g || sublayerKey("d", "one") != g {
		t.Error("guards of other names have the same key")
	}
	var all []guid
	for _, k := range slices.Concat(layerKeys[:], fieldKeys[:]) {
		if k == (guid{}) || slices.Contains(all, k) {
			t.Errorf("%x", k.bytes())
		}
		all = append(all, k)
	}
}
