package platform

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/mgr"
	"golang.zx2c4.com/wireguard/windows/tunnel/winipcfg"
)

// winSystem is the winAPI of this system. It needs an administrator for what changes something.
type winSystem struct{}

// winError gives those errors their names that are no failure to most. "Element not found" is said of devices that
// are gone or have not the family; "not supported" of a system without it; "file not found" of the registry.
func winError(err error) error {
	for is, name := range map[error]error{
		windows.ERROR_OBJECT_ALREADY_EXISTS: errWinExists,
		windows.ERROR_NOT_FOUND:             errWinMissing,
		windows.ERROR_FILE_NOT_FOUND:        errWinMissing,
		windows.ERROR_PATH_NOT_FOUND:        errWinMissing,
		windows.ERROR_NOT_SUPPORTED:         errWinMissing,
		windows.ERROR_KEY_DELETED:           errWinMissing,
	} {
		if errors.Is(err, is) {
			return fmt.Errorf("%w: %w", name, err)
		}
	}
	return err
}

func family(inet6 bool) winipcfg.AddressFamily {
	if inet6 {
		return windows.AF_INET6
	}
	return windows.AF_INET
}

func (winSystem) createAdapter(name, guid string, mtu int) (TUN, uint64, error) {
	id, err := windows.GUIDFromString(guid)
	if err != nil {
		return nil, 0, err
	}
	return newWintun(name, &id, mtu)
}

func (winSystem) adapters() ([]winAdapter, error) {
	all, err := winipcfg.GetAdaptersAddresses(windows.AF_UNSPEC, winipcfg.GAAFlagSkipAnycast|winipcfg.GAAFlagSkipMulticast)
	if err != nil {
		return nil, err
	}
	var out []winAdapter
	for _, a := range all {
		w := winAdapter{
			luid: uint64(a.LUID), name: a.FriendlyName(), description: a.Description(),
			hardware: net.HardwareAddr(a.PhysicalAddress()).String(),
			loopback: a.IfType == winipcfg.IfTypeSoftwareLoopback, up: a.OperStatus == winipcfg.IfOperStatusUp,
			metric4: int(a.Ipv4Metric), metric6: int(a.Ipv6Metric),
		}
		for u := a.FirstUnicastAddress; u != nil; u = u.Next {
			if ip, ok := netip.AddrFromSlice(u.Address.IP()); ok {
				w.addresses = append(w.addresses, netip.PrefixFrom(ip.Unmap(), int(u.OnLinkPrefixLength)))
			}
		}
		for d := a.FirstDNSServerAddress; d != nil; d = d.Next {
			if ip, ok := netip.AddrFromSlice(d.Address.IP()); ok {
				w.dns = append(w.dns, ip.Unmap())
			}
		}
		out = append(out, w)
	}
	return out, nil
}

func (winSystem) routes() ([]winRoute, error) {
	table, err := winipcfg.GetIPForwardTable2(windows.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	out := make([]winRoute, 0, len(table))
	for i := range table {
		out = append(out, routeOf(&table[i]))
	}
	return out, nil
}

func routeOf(r *winipcfg.MibIPforwardRow2) winRoute {
	w := winRoute{destination: r.DestinationPrefix.Prefix(), luid: uint64(r.InterfaceLUID), metric: int(r.Metric)}
	if a := r.NextHop.Addr().WithZone(""); a.IsValid() && !a.IsUnspecified() {
		w.gateway = a
	}
	return w
}

// windowsRow is the row with r's key; what Windows decides is as it likes it.
func windowsRow(r winRoute) (*winipcfg.MibIPforwardRow2, error) {
	var row winipcfg.MibIPforwardRow2
	row.Init()
	row.InterfaceLUID = winipcfg.LUID(r.luid)
	row.Metric = uint32(r.metric)
	return &row, errors.Join(row.DestinationPrefix.SetPrefix(r.destination), row.NextHop.SetAddr(hopOf(r)))
}

func (winSystem) addRoute(r winRoute) error {
	row, err := windowsRow(r)
	if err != nil {
		return err
	}
	return winError(row.Create())
}

func (winSystem) setRoute(r winRoute) error {
	row, err := winipcfg.LUID(r.luid).Route(r.destination, hopOf(r))
	if err != nil {
		return winError(err)
	}
	row.Metric = uint32(r.metric)
	return winError(row.Set())
}

func hopOf(r winRoute) netip.Addr {
	switch {
	case r.gateway.IsValid():
		return r.gateway
	case r.destination.Addr().Is4():
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (winSystem) route(r winRoute) (winRoute, error) {
	row, err := winipcfg.LUID(r.luid).Route(r.destination, hopOf(r))
	if err != nil {
		return winRoute{}, winError(err)
	}
	return routeOf(row), nil
}

func (winSystem) removeRoute(r winRoute) error {
	return winError(winipcfg.LUID(r.luid).DeleteRoute(r.destination, hopOf(r)))
}

func (winSystem) setUp(luid uint64, inet6 bool, mtu int) error {
	row, err := winipcfg.LUID(luid).IPInterface(family(inet6))
	if err != nil {
		return winError(err)
	}
	row.NLMTU = uint32(mtu)
	row.RouterDiscoveryBehavior, row.DadTransmits = winipcfg.RouterDiscoveryDisabled, 0
	row.ManagedAddressConfigurationSupported, row.OtherStatefulConfigurationSupported = false, false
	return winError(row.Set())
}

func (winSystem) setMetric(luid uint64, inet6 bool, metric int) error {
	row, err := winipcfg.LUID(luid).IPInterface(family(inet6))
	if err != nil {
		return winError(err)
	}
	row.UseAutomaticMetric = metric == 0
	if metric != 0 {
		row.Metric = uint32(metric)
	}
	return winError(row.Set())
}

func (winSystem) setInterfaceDNS(luid uint64, inet6 bool, servers []netip.Addr, search []string) error {
	return winError(winipcfg.LUID(luid).SetDNS(family(inet6), servers, search))
}

func (winSystem) addAddress(luid uint64, p netip.Prefix) error {
	var row winipcfg.MibUnicastIPAddressRow
	row.Init()
	row.InterfaceLUID = winipcfg.LUID(luid)
	row.OnLinkPrefixLength = uint8(p.Bits())
	row.ValidLifetime, row.PreferredLifetime = windows.INFINITE, windows.INFINITE
	// Nobody else can have it on this device: usable at once, and for what a program sends by any name.
	row.DadState, row.SkipAsSource = winipcfg.DadStatePreferred, false
	if err := row.Address.SetAddr(p.Addr()); err != nil {
		return err
	}
	return winError(row.Create())
}

func (winSystem) removeAddress(luid uint64, p netip.Prefix) error {
	return winError(winipcfg.LUID(luid).DeleteIPAddress(p))
}

func (winSystem) keys(path string) ([]string, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.ENUMERATE_SUB_KEYS)
	if err != nil {
		return nil, winError(err)
	}
	defer k.Close()
	names, err := k.ReadSubKeyNames(-1)
	return names, winError(err)
}

func (winSystem) values(path string) (map[string]any, error) {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return nil, winError(err)
	}
	defer k.Close()
	names, err := k.ReadValueNames(-1)
	if err != nil {
		return nil, winError(err)
	}
	out := map[string]any{}
	for _, name := range names {
		_, kind, err := k.GetValue(name, nil)
		if err != nil {
			continue // gone meanwhile
		}
		var v any
		switch kind {
		case registry.SZ, registry.EXPAND_SZ:
			v, _, err = k.GetStringValue(name)
		case registry.MULTI_SZ:
			v, _, err = k.GetStringsValue(name)
		case registry.DWORD:
			var n uint64
			n, _, err = k.GetIntegerValue(name)
			v = uint32(n)
		default:
			continue
		}
		if err == nil {
			out[name] = v
		}
	}
	return out, nil
}

func (winSystem) setKey(path string, values map[string]any) error {
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, path, registry.SET_VALUE)
	if err != nil {
		return winError(err)
	}
	defer k.Close()
	for name, v := range values {
		switch v := v.(type) {
		case string:
			err = k.SetStringValue(name, v)
		case []string:
			err = k.SetStringsValue(name, v)
		case uint32:
			err = k.SetDWordValue(name, v)
		default:
			err = fmt.Errorf("a value of type %T", v)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, winError(err))
		}
	}
	return nil
}

func (winSystem) removeKey(path string) error {
	return winError(registry.DeleteKey(registry.LOCAL_MACHINE, path))
}

var (
	flushResolverCache = windows.NewLazySystemDLL("dnsapi.dll").NewProc("DnsFlushResolverCache")
	// DWORD GenerateGPNotification(BOOL machine, LPCWSTR product, DWORD options), for LocalSystem only.
	notifyPolicy = windows.NewLazySystemDLL("userenv.dll").NewProc("GenerateGPNotification")
)

// refreshDNS: the DNS client is a service that reads its rules when it is told that its parameters have changed, those of the
// group policy when that has.
func (winSystem) refreshDNS(policy bool) error {
	var errs []error
	if policy {
		product, err := windows.UTF16PtrFromString("Adit")
		if err != nil {
			return err
		}
		if err := notifyPolicy.Find(); err != nil {
			return err
		}
		if code, _, _ := notifyPolicy.Call(1, uintptr(unsafe.Pointer(product)), 0); code != 0 {
			errs = append(errs, fmt.Errorf("notify of a change of the policy: %w", windows.Errno(code)))
		}
	}
	errs = append(errs, paramChange("Dnscache"))
	if flushResolverCache.Find() == nil {
		_, _, _ = flushResolverCache.Call() // an old answer stays as long as it may, no more
	}
	return errors.Join(errs...)
}

func paramChange(service string) error {
	name, err := windows.UTF16PtrFromString(service)
	if err != nil {
		return err
	}
	scm, err := windows.OpenSCManager(nil, nil, windows.SC_MANAGER_CONNECT)
	if err != nil {
		return fmt.Errorf("service manager: %w", err)
	}
	defer windows.CloseServiceHandle(scm)
	h, err := windows.OpenService(scm, name, windows.SERVICE_PAUSE_CONTINUE)
	if err != nil {
		return fmt.Errorf("service %s: %w", service, err)
	}
	s := mgr.Service{Name: service, Handle: h}
	defer s.Close()
	for end := time.Now().Add(startPatience); ; time.Sleep(startPause) {
		_, err := s.Control(svc.ParamChange)
		if err == nil {
			return nil
		}
		starting := errors.Is(err, windows.ERROR_SERVICE_CANNOT_ACCEPT_CTRL) ||
			errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) && windows.DurationSinceBoot() < justStarted
		if !starting || time.Now().After(end) {
			return fmt.Errorf("service %s: %w", service, err)
		}
	}
}

// How long a service of Windows that is starting is waited for, and how long after the start of Windows one that does not run yet.
const (
	startPatience = 5 * time.Second
	startPause    = 100 * time.Millisecond
	justStarted   = 2 * time.Minute
)

func (winSystem) watch(changed func(winEvent)) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range slices.Backward(stops) {
			s()
		}
	}
	defer func() {
		if err != nil {
			stop()
			stop = nil
		}
	}()
	links, err := winipcfg.RegisterInterfaceChangeCallback(func(_ winipcfg.MibNotificationType, i *winipcfg.MibIPInterfaceRow) {
		changed(winEvent{what: winLink, luid: uint64(i.InterfaceLUID)})
	})
	if err != nil {
		return nil, fmt.Errorf("watch the network adapters: %w", err)
	}
	stops = append(stops, func() { _ = links.Unregister() })
	addresses, err := winipcfg.RegisterUnicastAddressChangeCallback(func(_ winipcfg.MibNotificationType, a *winipcfg.MibUnicastIPAddressRow) {
		changed(winEvent{what: winAddress, luid: uint64(a.InterfaceLUID)})
	})
	if err != nil {
		return nil, fmt.Errorf("watch the addresses: %w", err)
	}
	stops = append(stops, func() { _ = addresses.Unregister() })
	rows, err := winipcfg.RegisterRouteChangeCallback(func(kind winipcfg.MibNotificationType, r *winipcfg.MibIPforwardRow2) {
		w := routeOf(r)
		changed(winEvent{what: winRouteRow, luid: w.luid, route: w.key(), removed: kind == winipcfg.MibDeleteInstance})
	})
	if err != nil {
		return nil, fmt.Errorf("watch the routes: %w", err)
	}
	stops = append(stops, func() { _ = rows.Unregister() })
	names, err := watchKeys([]string{nrptLocal, nrptPolicy}, func() { changed(winEvent{what: winNames}) })
	if err != nil {
		return nil, fmt.Errorf("watch the rules of the DNS client: %w", err)
	}
	stops = append(stops, names)
	return stop, nil
}

// keyQuiet is how long a burst of changes of the registry is given to end.
const keyQuiet = 200 * time.Millisecond

// watchKeys calls changed after a change below one of the paths of the local machine, or of the nearest key above that is
// there. It has a goroutine of its own, for which stop waits.
func watchKeys(paths []string, changed func()) (stop func(), err error) {
	end, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	var done sync.WaitGroup
	done.Go(func() {
		// A notice is bound to the thread that asked for it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		events, free, err := noticesOf(paths)
		ready <- err
		for err == nil {
			var n uint32
			n, err = windows.WaitForMultipleObjects(append([]windows.Handle{end}, events...), false, windows.INFINITE)
			if err != nil || n == windows.WAIT_OBJECT_0 {
				break
			}
			n, err = windows.WaitForSingleObject(end, uint32(keyQuiet.Milliseconds()))
			if err != nil || n == windows.WAIT_OBJECT_0 {
				break
			}
			// A notice is for one change: the next ones before somebody looks.
			free()
			events, free, err = noticesOf(paths)
			changed()
		}
		free()
	})
	stop = func() {
		_ = windows.SetEvent(end)
		done.Wait()
		_ = windows.CloseHandle(end)
	}
	if err := <-ready; err != nil {
		stop()
		return nil, err
	}
	return stop, nil
}

// noticesOf asks for one notice of each path; free ends that.
func noticesOf(paths []string) (events []windows.Handle, free func(), err error) {
	var frees []func()
	free = func() {
		for _, f := range frees {
			f()
		}
	}
	for _, path := range paths {
		k, err := nearestKey(path)
		if err != nil {
			return nil, free, err
		}
		frees = append(frees, func() { k.Close() })
		e, err := windows.CreateEvent(nil, 1, 0, nil)
		if err != nil {
			return nil, free, err
		}
		frees = append(frees, func() { _ = windows.CloseHandle(e) })
		err = windows.RegNotifyChangeKeyValue(windows.Handle(k), true, windows.REG_NOTIFY_CHANGE_NAME|windows.REG_NOTIFY_CHANGE_LAST_SET, e, true)
		if err != nil {
			return nil, free, err
		}
		events = append(events, e)
	}
	return events, free, nil
}

func nearestKey(path string) (registry.Key, error) {
	for {
		k, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.NOTIFY)
		up := strings.LastIndexByte(path, '\\')
		if err == nil || !errors.Is(winError(err), errWinMissing) || up < 0 {
			return k, err
		}
		path = path[:up]
	}
}
