package wfp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/windows"
)

// New is the Firewall of this system. An empty App and User are this process' own.
func New(c Config) (*Firewall, error) {
	if c.App == "" {
		path, err := ownImage()
		if err != nil {
			return nil, fmt.Errorf("which program this is: %w", err)
		}
		c.App = path
	}
	if c.User == "" {
		sid, err := ownSID()
		if err != nil {
			return nil, fmt.Errorf("who this process runs as: %w", err)
		}
		c.User = sid
	}
	return &Firewall{engine: &fwpuclnt{windows.NewLazySystemDLL("fwpuclnt.dll")}, config: c}, nil
}

// ownImage is the path of this program as the kernel knows it, and with it the filters: without the links on the way by which
// it was started.
func ownImage() (string, error) {
	path := make([]uint16, windows.MAX_LONG_PATH)
	n := uint32(len(path))
	if err := windows.QueryFullProcessImageName(windows.CurrentProcess(), 0, &path[0], &n); err != nil {
		return "", os.NewSyscallError("QueryFullProcessImageName", err)
	}
	return windows.UTF16ToString(path[:n]), nil
}

// ownSID is the SID of the Windows service that this process is (S-1-5-80-…), which no other process has, or else that of
// its user.
func ownSID() (string, error) {
	token := windows.GetCurrentProcessToken()
	groups, err := token.GetTokenGroups()
	if err != nil {
		return "", err
	}
	for _, g := range groups.AllGroups() {
		// NT SERVICE\name has five numbers after the 80; shorter ones stand for all services.
		service := g.Sid.IsValid() && g.Sid.IdentifierAuthority() == windows.SECURITY_NT_AUTHORITY && g.Sid.SubAuthorityCount() >= 6 && g.Sid.SubAuthority(0) == 80
		if service && g.Attributes&(windows.SE_GROUP_ENABLED|windows.SE_GROUP_OWNER) == windows.SE_GROUP_ENABLED|windows.SE_GROUP_OWNER {
			return g.Sid.String(), nil
		}
	}
	u, err := token.GetTokenUser()
	if err != nil {
		return "", err
	}
	return u.User.Sid.String(), nil
}

// fwpuclnt is the engine of the system.
type fwpuclnt struct{ dll *windows.LazyDLL }

// call calls a function of the library. What its arguments point to lives until it returns.
//
//go:uintptrescapes
func (d *fwpuclnt) call(name string, args ...uintptr) error {
	proc := d.dll.NewProc(name)
	if err := proc.Find(); err != nil {
		return err
	}
	if r, _, _ := proc.Call(args...); uint32(r) != 0 {
		return fmt.Errorf("%s: %w", name, code(uint32(r)))
	}
	return nil
}

// patience is how long a transaction waits for others', in milliseconds.
const patience = 5000

func (d *fwpuclnt) open() (session, error) {
	const winNT = 10 // RPC_C_AUTHN_WINNT
	s0 := &session0{display: displayData0{name: text("Adit")}, wait: patience}
	var handle windows.Handle
	if err := d.call("FwpmEngineOpen0", 0, winNT, 0, uintptr(unsafe.Pointer(s0)), uintptr(unsafe.Pointer(&handle))); err != nil {
		return nil, err
	}
	return &connection{d, handle}, nil
}

// connection is a session.
type connection struct {
	*fwpuclnt
	handle windows.Handle
}

func (c *connection) begin() error  { return c.call("FwpmTransactionBegin0", uintptr(c.handle), 0) }
func (c *connection) commit() error { return c.call("FwpmTransactionCommit0", uintptr(c.handle)) }
func (c *connection) close() error  { return c.call("FwpmEngineClose0", uintptr(c.handle)) }

func (c *connection) addProvider(service string) error {
	return c.call("FwpmProviderAdd0", uintptr(c.handle), uintptr(unsafe.Pointer(newProvider(service))), 0)
}

func (c *connection) deleteProvider() error {
	key := provider
	return c.call("FwpmProviderDeleteByKey0", uintptr(c.handle), uintptr(unsafe.Pointer(&key)))
}

func (c *connection) addSublayer(s sublayer) error {
	return c.call("FwpmSubLayerAdd0", uintptr(c.handle), uintptr(unsafe.Pointer(newSublayer(s))), 0)
}

func (c *connection) deleteSublayer(key guid) error {
	return c.call("FwpmSubLayerDeleteByKey0", uintptr(c.handle), uintptr(unsafe.Pointer(&key)))
}

func (c *connection) addFilter(key guid, f filter) error {
	var a arena
	f0, err := a.filter(key, f, descriptor)
	if err == nil {
		err = c.call("FwpmFilterAdd0", uintptr(c.handle), uintptr(unsafe.Pointer(f0)), 0, 0)
	}
	runtime.KeepAlive(&a)
	if err != nil {
		return fmt.Errorf("filter %q: %w", f.name, err)
	}
	return nil
}

func (c *connection) deleteFilter(key guid) error {
	return c.call("FwpmFilterDeleteByKey0", uintptr(c.handle), uintptr(unsafe.Pointer(&key)))
}

func (c *connection) sublayers() (out []sublayer, err error) {
	key := provider
	template := &sublayerTemplate0{&key}
	err = each(c, "FwpmSubLayer", unsafe.Pointer(template), func(s *sublayer0) { out = append(out, s.read()) })
	return out, err
}

func (c *connection) filters(l layer) (out []placed, err error) {
	key := provider
	template := &filterTemplate0{provider: &key, layer: layerKeys[l], flags: enumWithBoot | enumWithDisabled, actions: enumAnyAction}
	err = each(c, "FwpmFilter", unsafe.Pointer(template), func(f *filter0) { out = append(out, f.read()) })
	return out, err
}

// each gives all objects of a kind that fit a template. They live during the call only.
func each[T any](c *connection, kind string, template unsafe.Pointer, take func(*T)) error {
	const page = 256
	var list windows.Handle
	err := c.call(kind+"CreateEnumHandle0", uintptr(c.handle), uintptr(template), uintptr(unsafe.Pointer(&list)))
	if errors.Is(err, errNoProvider) {
		return nil // nothing is ours
	} else if err != nil {
		return err
	}
	for {
		var entries **T
		var n uint32
		if err := c.call(kind+"Enum0", uintptr(c.handle), uintptr(list), page, uintptr(unsafe.Pointer(&entries)), uintptr(unsafe.Pointer(&n))); err != nil {
			_ = c.call(kind+"DestroyEnumHandle0", uintptr(c.handle), uintptr(list)) // the session's end frees it, too
			return err
		}
		if entries != nil {
			for _, e := range unsafe.Slice(entries, n) {
				take(e)
			}
			c.free(unsafe.Pointer(&entries))
		}
		if n < page {
			return c.call(kind+"DestroyEnumHandle0", uintptr(c.handle), uintptr(list))
		}
	}
}

// appID implements session.
func (c *connection) appID(path string) ([]byte, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	var blob *byteBlob
	if err := c.call("FwpmGetAppIdFromFileName0", uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&blob))); err != nil {
		return nil, err
	}
	b := blob.bytes()
	c.free(unsafe.Pointer(&blob))
	if len(b) == 0 {
		return nil, fmt.Errorf("FwpmGetAppIdFromFileName0 gave no name")
	}
	return b, nil
}

// descriptor lets only tokens with that SID match a filter: CC is the first right, FWP_ACTRL_MATCH_FILTER.
func descriptor(sid string) ([]byte, error) {
	sd, err := windows.SecurityDescriptorFromString("D:(A;;CC;;;" + sid + ")")
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(sd)), sd.Length())...), nil
}

// free gives memory back; p points to the pointer, which becomes nil. The function has no result.
func (d *fwpuclnt) free(p unsafe.Pointer) {
	_, _, _ = d.dll.NewProc("FwpmFreeMemory0").Call(uintptr(p))
}
