package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/adit-vpn/adit/routes"
)

// macCalls are the system calls of macOS that a macMachine makes, and nothing of it decides anything: maccalls_darwin.go has the
// real ones, a recording stands for them in tests. Errors of the kernel are as they came, a syscall.Errno.
type macCalls interface {
	// openTUN makes a utun device.
	openTUN(name string, mtu int) (TUN, error)
	// setMTU sets a device's MTU in bytes (SIOCSIFMTU).
	setMTU(device string, mtu int) error
	// ioctl hands argument, a structure of net/if.h or netinet6/in6_var.h, to a socket of a family.
	ioctl(family int, request uint, argument []byte) error
	// links are all network devices with their addresses.
	links() ([]macLink, error)
	// table is the routing table of both families (sysctl NET_RT_DUMP).
	table() ([]macRoute, error)
	// change sends RTM_ADD or RTM_DELETE to the route socket and waits for its answer.
	change(kind int, r macRoute) error
	// notes opens a route socket that hears what changes. Read gives the notes of one message and blocks; after close it
	// fails with os.ErrClosed. Any goroutine may close.
	notes() (macNotes, error)
	// every ticks until stop.
	every(time.Duration) (ticks <-chan time.Time, stop func())
	// run executes a program by its absolute path with nothing in its environment, and text on its standard input. The
	// answer is all that it wrote, to both outputs; an error has that, too.
	run(ctx context.Context, program string, args []string, text string) (string, error)
}

type macNotes interface {
	read() ([]macNote, error)
	close() error
}

// macLink is one network device.
type macLink struct {
	Index     int
	Name      string
	Hardware  string // hexadecimal bytes with colons; "" = none
	Addresses []netip.Prefix
}

// macRoute is one row of the routing table, or what a message says of it.
type macRoute struct {
	Destination netip.Prefix
	Gateway     netip.Addr // zero: the device at Index itself
	Index       int        // the device's
	Flags       int
}

// macNote is one message of the route socket.
type macNote struct {
	Kind  int // RTM_…
	Index int // the device's
	Flags int // of a route, or of a device
}

// Of net/route.h.
const (
	macRouteAdd    = 0x1 // RTM_ADD
	macRouteDelete = 0x2
	macRouteChange = 0x3
	macAddrNew     = 0xc // RTM_NEWADDR
	macAddrGone    = 0xd
	macLinkNew     = 0xe // RTM_IFINFO

	rtfUp        = 0x1
	rtfGateway   = 0x2
	rtfHost      = 0x4
	rtfReject    = 0x8
	rtfLinkInfo  = 0x400
	rtfStatic    = 0x800
	rtfBlackhole = 0x1000
	// RTF_PROTO1 marks our rows, as routing daemons mark theirs. RTF_PROTO3 would let the kernel expire them.
	rtfOurs      = 0x8000
	rtfCloned    = 0x20000 // RTF_WASCLONED
	rtfLocal     = 0x200000
	rtfBroadcast = 0x400000
	rtfMulticast = 0x800000
	rtfScoped    = 0x1000000 // RTF_IFSCOPE
)

// Of sys/sockio.h, netinet6/in6_var.h and sys/socket.h; the requests have the size of their argument in them.
const (
	macInet  = 2
	macInet6 = 30

	siocAddAddress     = 0x8040691a // SIOCAIFADDR, struct ifaliasreq
	siocDeleteAddress  = 0x80206919 // SIOCDIFADDR, struct ifreq
	siocAddAddress6    = 0x8080691a // SIOCAIFADDR_IN6, struct in6_aliasreq
	siocDeleteAddress6 = 0x81206919 // SIOCDIFADDR_IN6, struct in6_ifreq
	in6NoDAD           = 0x20       // IN6_IFF_NODAD
)

// macMachine is macOS.
type macMachine struct {
	calls macCalls
	log   *slog.Logger
	dir   string // the journals'
	id    string // of the journal directory, in the names of what we make
	tun   *machineTUN
	made  map[netip.Prefix]macRoute // our rows
	pf    pfState
}

func newMacMachine(calls macCalls, journalDir string, log *slog.Logger) *macMachine {
	h := fnv.New32a()
	h.Write([]byte(filepath.Clean(journalDir)))
	return &macMachine{calls: calls, log: orSilent(log), dir: journalDir, id: fmt.Sprintf("%08x", h.Sum32()), made: map[netip.Prefix]macRoute{}}
}

// lasting implements machine: routes, the dynamic store and the rules of PF end with the kernel.
func (m *macMachine) lasting() bool { return false }

func (m *macMachine) openTUN(name string, mtu int) (TUN, link, error) {
	dev, err := m.calls.openTUN(name, mtu)
	if err != nil {
		return nil, link{}, err
	}
	l, err := m.findLink(dev.Name())
	if err != nil {
		return nil, link{}, errors.Join(err, dev.Close())
	}
	m.tun = &machineTUN{TUN: dev, link: l}
	m.tun.mtu.Store(int64(dev.MTU()))
	return m.tun, l, nil
}

// device is the name of the open TUN, "" without one.
func (m *macMachine) device() string {
	if m.tun == nil || m.tun.closed.Load() {
		return ""
	}
	return m.tun.link.Device
}

func (m *macMachine) setMTU(l link, mtu int) error { return m.calls.setMTU(l.Device, mtu) }

func (m *macMachine) findLink(name string) (link, error) {
	links, err := m.calls.links()
	if err != nil {
		return link{}, fmt.Errorf("read network devices: %w", err)
	}
	for _, l := range links {
		if l.Name == name {
			return link{l.Index, l.Name}, nil
		}
	}
	return link{}, errors.New("there is no such network device")
}

// sockaddr is the sockaddr_in or sockaddr_in6 of a (netinet/in.h).
func sockaddr(a netip.Addr) []byte {
	if a.Is4() {
		b := make([]byte, 16)
		b[0], b[1] = 16, macInet
		copy(b[4:], a.AsSlice())
		return b
	}
	b := make([]byte, 28)
	b[0], b[1] = 28, macInet6
	copy(b[8:], a.AsSlice())
	return b
}

// netmask is the address with p's bits set.
func netmask(p netip.Prefix) netip.Addr {
	b := make([]byte, p.Addr().BitLen()/8)
	for i := range p.Bits() {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// deviceName is the name at the head of ioctls' structures (IFNAMSIZ).
func deviceName(name string) []byte {
	b := make([]byte, 16)
	copy(b[:15], name)
	return b
}

// addAddress gives a utun, which has one other end, the address with itself for the other end, and a route to the
// address's network: that is how macOS' utun is told of a network behind it.
func (m *macMachine) addAddress(l link, p netip.Prefix) error {
	links, err := m.calls.links()
	if err != nil {
		return fmt.Errorf("read network devices: %w", err)
	}
	there := slices.ContainsFunc(links, func(x macLink) bool { return x.Index == l.Index && slices.Contains(x.Addresses, p) })
	if !there { // to say it again would take the address away for a moment, with its routes
		family, request, argument := macAddressRequest(l, p)
		if err := m.calls.ioctl(family, request, argument); err != nil && !errors.Is(err, syscall.EEXIST) {
			return err
		}
	}
	if p.IsSingleIP() {
		return nil
	}
	_, err = m.addRoute(row{Destination: p.Masked(), link: l})
	return err
}

// macAddressRequest says an address to a device.
func macAddressRequest(l link, p netip.Prefix) (family int, request uint, argument []byte) {
	a, b := p.Addr(), deviceName(l.Device)
	if a.Is4() { // struct ifaliasreq: address, other end, mask
		return macInet, siocAddAddress, append(append(append(b, sockaddr(a)...), sockaddr(a)...), sockaddr(netmask(p))...)
	}
	// struct in6_aliasreq: address, other end (none), mask, flags, and lifetimes: two times of expiry that the
	// kernel sets, and seconds without end. Nobody else can hold the address on this link: usable at once.
	b = append(append(append(b, sockaddr(a)...), make([]byte, 28)...), sockaddr(netmask(p))...)
	b = append(binary.NativeEndian.AppendUint32(b, in6NoDAD), make([]byte, 16)...)
	return macInet6, siocAddAddress6, binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(b, ^uint32(0)), ^uint32(0))
}

func (m *macMachine) removeAddress(l link, p netip.Prefix) error {
	var err error
	if !p.IsSingleIP() {
		_, err = m.removeRoute(row{Destination: p.Masked(), link: l})
	}
	b := append(deviceName(l.Device), sockaddr(p.Addr())...)
	family, request := macInet, uint(siocDeleteAddress)
	if p.Addr().Is6() { // struct in6_ifreq, whose largest member has 272 bytes
		b = append(b, make([]byte, 272-28)...)
		family, request = macInet6, siocDeleteAddress6
	}
	if e := m.calls.ioctl(family, request, b); e != nil && !errors.Is(e, syscall.EADDRNOTAVAIL) && !macGone(e) {
		err = errors.Join(err, e)
	}
	return err
}

// macGone says that the device has vanished, and with it what was on it.
func macGone(err error) bool {
	return errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENODEV)
}

// kernel is r as macOS has it.
func (m *macMachine) kernel(r row) macRoute {
	k := macRoute{Destination: r.Destination, Gateway: r.Gateway, Index: r.Index, Flags: rtfUp | rtfStatic | rtfOurs}
	if r.Unreachable { // the loopback device answers with an error
		k.Flags |= rtfReject
		k.Gateway, k.Index = netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0
		if r.Destination.Addr().Is6() {
			k.Gateway = netip.IPv6Loopback()
		}
	}
	if m.tun != nil && k.Index == m.tun.link.Index {
		k.Gateway = netip.Addr{} // a utun has no neighbours: what goes in is the server's
	}
	if k.Gateway.IsValid() {
		k.Flags |= rtfGateway
	}
	if r.Destination.IsSingleIP() {
		k.Flags |= rtfHost
	}
	return k
}

// does says that the row k of the table does the same as ours.
func (k macRoute) does(ours macRoute) bool {
	return k.Destination == ours.Destination && k.Gateway == ours.Gateway && k.Flags&(rtfReject|rtfBlackhole) == ours.Flags&rtfReject &&
		(ours.Index == 0 || k.Index == ours.Index) && k.Flags&rtfScoped == 0
}

// addRoute implements machine. macOS has one row for a destination: ours makes way for another one of ours, and somebody
// else's, or another tunnel's, by another way is an error.
func (m *macMachine) addRoute(r row) (made bool, err error) {
	k := m.kernel(r)
	err = m.calls.change(macRouteAdd, k)
	if errors.Is(err, syscall.EEXIST) {
		rows, err := m.calls.table()
		if err != nil {
			return false, fmt.Errorf("read routes: %w", err)
		}
		at := slices.IndexFunc(rows, func(x macRoute) bool { return x.Destination == k.Destination && x.Flags&rtfScoped == 0 })
		if at >= 0 {
			switch old, ours := m.made[k.Destination]; {
			case rows[at].does(k):
				if rows[at].Flags&rtfOurs == 0 {
					return false, nil
				}
				m.made[k.Destination] = k
				return true, nil
			case !ours || rows[at].Flags&rtfOurs == 0 || !rows[at].does(old):
				return false, fmt.Errorf("there is one by %s already, and macOS has one route for a destination", m.wayName(rows[at]))
			}
			if err := m.calls.change(macRouteDelete, m.made[k.Destination]); err != nil && !errors.Is(err, syscall.ESRCH) {
				return false, fmt.Errorf("take the old one away: %w", err)
			}
			delete(m.made, k.Destination)
		}
		if err := m.calls.change(macRouteAdd, k); err != nil {
			return false, err
		}
	} else if err != nil {
		return false, err
	}
	m.made[k.Destination] = k
	return true, nil
}

// wayName says in words where a row leads.
func (m *macMachine) wayName(k macRoute) string {
	name := fmt.Sprintf("device %d", k.Index)
	if links, err := m.calls.links(); err == nil {
		for _, l := range links {
			if l.Index == k.Index {
				name = l.Name
			}
		}
	}
	if k.Gateway.IsValid() {
		return k.Gateway.String() + " on " + name
	}
	return name
}

// removeRoute implements machine: what is there must have our mark, and lead where ours did.
func (m *macMachine) removeRoute(r row) (did bool, err error) {
	rows, err := m.calls.table()
	if err != nil {
		return false, fmt.Errorf("read routes: %w", err)
	}
	k := m.kernel(r)
	if !slices.ContainsFunc(rows, func(x macRoute) bool { return x.Flags&rtfOurs != 0 && x.does(k) }) {
		return false, nil
	}
	err = m.calls.change(macRouteDelete, k)
	if gone := errors.Is(err, syscall.ESRCH) || macGone(err); err != nil && !gone {
		return false, err
	}
	delete(m.made, k.Destination)
	return err == nil, nil
}

// facts implements machine. The devices of all our tunnels are left out, those of other VPNs are not: macOS has no mark for a
// device, so that the journals say which are ours.
func (m *macMachine) facts(ctx context.Context, own link) (routes.Facts, error) {
	links, err := m.calls.links()
	if err != nil {
		return routes.Facts{}, fmt.Errorf("read network devices: %w", err)
	}
	rows, err := m.calls.table()
	if err != nil {
		return routes.Facts{}, fmt.Errorf("read routes: %w", err)
	}
	f := routes.Facts{DNSManager: "SystemConfiguration", OneRow: true}
	byIndex, ours, tunnels := map[int]macLink{}, map[int]bool{}, tunnels(m.dir)
	for _, l := range links {
		byIndex[l.Index] = l
		ours[l.Index] = l.Index == own.Index || slices.ContainsFunc(l.Addresses, func(p netip.Prefix) bool { return slices.Contains(tunnels[l.Name], p.Addr()) })
		if ours[l.Index] {
			continue
		}
		for _, a := range l.Addresses {
			if !a.Addr().IsLoopback() {
				f.Addresses = append(f.Addresses, netip.PrefixFrom(a.Addr().WithZone(""), a.Bits()))
			}
		}
	}
	// What the kernel makes for neighbours and for itself is no route of the underlay, and a scoped one is for those only
	// who ask for its device.
	const not = rtfOurs | rtfReject | rtfBlackhole | rtfLinkInfo | rtfCloned | rtfLocal | rtfBroadcast | rtfMulticast | rtfScoped
	for _, k := range rows {
		if k.Flags&rtfUp == 0 || k.Flags&not != 0 || ours[k.Index] ||
			k.Destination.Addr().IsLoopback() || k.Destination.Addr().IsMulticast() {
			continue
		}
		l := byIndex[k.Index]
		f.Routes = append(f.Routes, routes.UnderlayRoute{Destination: k.Destination, Gateway: k.Gateway.WithZone(""), Device: l.Name, Hardware: l.Hardware})
	}
	f.DNS, err = m.underlayDNS(ctx)
	return f, err
}

// watch implements machine. It also looks after the guard.
func (m *macMachine) watch(own func(index int) bool, signal func()) (stop func(), err error) {
	notes, err := m.calls.notes()
	if err != nil {
		return nil, fmt.Errorf("watch the network: %w", err)
	}
	ticks, still := m.calls.every(pfLook)
	end := make(chan struct{})
	var both sync.WaitGroup // stop waits for it
	both.Go(func() {
		flags := map[int]int{} // of each device, those that decide whether it carries anything
		for {
			heard, err := notes.read()
			if err != nil {
				return
			}
			for _, n := range heard {
				if macMatters(n, flags, own) {
					signal()
				}
			}
		}
	})
	both.Go(func() {
		for {
			select {
			case <-ticks:
				if m.guardLost() {
					signal() // the next plan closes it again
				}
			case <-end:
				return
			}
		}
	})
	return func() {
		_ = notes.close() // of a socket that was only read
		still()
		close(end)
		both.Wait()
	}, nil
}

// linkCarriesMac are the flags by which a cable that is plugged in shows, or a Wi-Fi that has joined: IFF_UP, IFF_RUNNING
// (net/if.h).
const linkCarriesMac = 0x1 | 0x40

// macMatters leaves out our own rows and device, neighbours that come and go, and mere statistics of devices. Flags are what
// it has seen of devices.
func macMatters(n macNote, flags map[int]int, own func(int) bool) bool {
	if own(n.Index) {
		return false
	}
	switch n.Kind {
	case macRouteAdd, macRouteDelete, macRouteChange:
		return n.Flags&(rtfOurs|rtfLinkInfo|rtfCloned|rtfMulticast|rtfBroadcast) == 0
	case macAddrNew, macAddrGone:
		return true
	case macLinkNew:
		old, seen := flags[n.Index]
		flags[n.Index] = n.Flags & linkCarriesMac
		return !seen || old != flags[n.Index]
	}
	return false
}
