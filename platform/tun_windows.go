package platform

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/windows"
	"golang.zx2c4.com/wintun"
)

// ringBytes is the size of each of the two rings: about 5 ms of 10 Gbit/s.
const ringBytes = 8 << 20

// CreateTUN makes an adapter of the Wintun driver, whose wintun.dll must lie beside the program; name is what
// people see, "" for one of ours. The adapter vanishes, with its addresses and routes, on Close or when the
// process ends. It has one queue, however many are asked for. The MTU belongs to the IP interfaces on it, which are
// the Host's; here it is only remembered.
func CreateTUN(name string, mtu, _ int) ([]TUN, error) {
	if name == "" {
		name = winTunnelType
	}
	t, _, err := newWintun(name, nil, mtu)
	if err != nil {
		return nil, err
	}
	return []TUN{t}, nil
}

// How long the making of an adapter is tried: the one of the same GUID may be going just now, and when Windows has only started
// it makes no devices yet.
const (
	wintunPatience = 5 * time.Second
	wintunAtBoot   = 20 * time.Second
	wintunPause    = 250 * time.Millisecond
)

// newWintun makes an adapter with a GUID, nil for any, and gives its LUID, too.
func newWintun(name string, guid *windows.GUID, mtu int) (TUN, uint64, error) {
	end := time.Now().Add(wintunPatience)
	if windows.DurationSinceBoot() < justStarted {
		end = time.Now().Add(wintunAtBoot)
	}
	adapter, err := wintun.CreateAdapter(name, winTunnelType, guid)
	for err != nil && !errors.Is(err, windows.ERROR_ACCESS_DENIED) && !errors.Is(err, windows.ERROR_MOD_NOT_FOUND) && time.Now().Before(end) {
		time.Sleep(wintunPause)
		adapter, err = wintun.CreateAdapter(name, winTunnelType, guid)
	}
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED):
		return nil, 0, fmt.Errorf("%w: make Wintun adapter %q: %w", ErrTUNNotPermitted, name, err)
	case errors.Is(err, windows.ERROR_MOD_NOT_FOUND):
		return nil, 0, fmt.Errorf("wintun.dll is not beside the program: %w", err)
	case err != nil:
		return nil, 0, fmt.Errorf("make Wintun adapter %q: %w", name, err)
	}
	session, err := adapter.StartSession(ringBytes)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("start Wintun adapter %q: %w", name, err), adapter.Close())
	}
	return newRingTUN(&wintunRing{adapter: adapter, session: session, ready: session.ReadWaitEvent()}, name, mtu), adapter.LUID(), nil
}

// wintunRing is a ring of the Wintun driver (wintun.h).
type wintunRing struct {
	adapter *wintun.Adapter
	session wintun.Session
	ready   windows.Handle // an event that resets itself; the session's
}

func (r *wintunRing) receive() ([]byte, error) {
	p, err := r.session.ReceivePacket()
	if errors.Is(err, windows.ERROR_NO_MORE_ITEMS) {
		err = errRingEmpty
	}
	return p, err
}

func (r *wintunRing) release(packet []byte) { r.session.ReleaseReceivePacket(packet) }

func (r *wintunRing) wait() error {
	_, err := windows.WaitForSingleObject(r.ready, windows.INFINITE)
	return err
}

func (r *wintunRing) wake() { _ = windows.SetEvent(r.ready) } // fails for no event of ours

func (r *wintunRing) allocate(size int) ([]byte, error) {
	p, err := r.session.AllocateSendPacket(size)
	if errors.Is(err, windows.ERROR_BUFFER_OVERFLOW) {
		err = errRingFull
	}
	return p, err
}

func (r *wintunRing) send(packet []byte) { r.session.SendPacket(packet) }

func (r *wintunRing) end() error {
	r.session.End()
	return r.adapter.Close()
}
