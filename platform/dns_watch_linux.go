package platform

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/bus"
)

const (
	// dnsQuiet is how long DNS must be left alone before we look at it: a manager writes in several steps.
	dnsQuiet = 200 * time.Millisecond
	// After each time that DNS was lost we wait longer before we take it back, so as not to fight with a
	// program that does the same.
	dnsPatience, dnsPatienceMost = 200 * time.Millisecond, time.Minute
	// dnsPeace is how long it must last before we are patient anew.
	dnsPeace = 2 * time.Minute
	// busAgain is the time before another attempt to reach the bus; it doubles, as many containers have none.
	busAgain, busAgainMost = 2 * time.Second, time.Minute
)

// dnsWatch sets DNS again when it is not any more as the tunnel wants it: a manager was restarted and has
// forgotten, or another program wrote. It owns its goroutines; close waits for them.
type dnsWatch struct {
	cancel context.CancelFunc
	files  *os.File
	done   sync.WaitGroup
}

// newDNSWatch watches over name's DNS. It calls failed, from a goroutine of its own, when DNS could not be set again,
// and is not there any more.
func newDNSWatch(r *resolver, name string, failed func()) (*dnsWatch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch resolv.conf: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	// os.File puts the descriptor under Go's poller, so that Close ends a blocked Read.
	w := &dnsWatch{cancel: cancel, files: os.NewFile(uintptr(fd), "inotify")}
	hints := make(chan struct{}, 1)
	hint := func() {
		select {
		case hints <- struct{}{}:
		default:
		}
	}
	follow := func() { // what resolv.conf leads to may be another file by now
		for _, path := range []string{r.etc, r.dir} {
			w.add(fd, path, unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_DELETE|unix.IN_CLOSE_WRITE)
		}
		w.add(fd, r.resolvConf(), unix.IN_CLOSE_WRITE) // a mount of its own is not in the directory
		if real, err := filepath.EvalSymlinks(r.resolvConf()); err == nil && filepath.Dir(real) != filepath.Clean(r.etc) {
			w.add(fd, filepath.Dir(real), unix.IN_MOVED_TO|unix.IN_CLOSE_WRITE)
		}
	}
	follow()
	w.done.Go(func() { w.readFiles(r, hint, follow) })
	w.done.Go(func() { w.listen(ctx, r, hint) })
	w.done.Go(func() { look(ctx, r, name, hints, failed) })
	return w, nil
}

// add watches a path. A path that is not there is noticed by the directory above, or not at all.
func (w *dnsWatch) add(fd int, path string, mask uint32) {
	_, _ = unix.InotifyAddWatch(fd, path, mask)
}

func (w *dnsWatch) close() {
	w.cancel()
	w.files.Close()
	w.done.Wait()
}

// readFiles hints at changes of resolv.conf and of the shared state.
func (w *dnsWatch) readFiles(r *resolver, hint, follow func()) {
	buf := make([]byte, 1<<14)
	for {
		n, err := w.files.Read(buf)
		if err != nil {
			return
		}
		for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
			size := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			if size > len(b) {
				break
			}
			name := string(b[unix.SizeofInotifyEvent:size])
			for len(name) > 0 && name[len(name)-1] == 0 {
				name = name[:len(name)-1]
			}
			b = b[size:]
			switch name {
			case "resolv.conf", "stub-resolv.conf", "": // "": a file that is watched itself
				hint()
				follow()
			case stateName:
				hint()
			}
		}
	}
}

// listen hints at what happens on the bus: a manager that comes or goes, or that says that its settings have changed.
func (w *dnsWatch) listen(ctx context.Context, r *resolver, hint func()) {
	for pause := busAgain; ctx.Err() == nil; pause = min(2*pause, busAgainMost) {
		err := func() error {
			conn, changes, err := bus.Listen(ctx, r.bus,
				bus.Signal{Sender: bus.Daemon, Path: "/org/freedesktop/DBus", Interface: bus.Daemon, Member: "NameOwnerChanged", Arg0: resolvedName},
				bus.Signal{Sender: bus.Daemon, Path: "/org/freedesktop/DBus", Interface: bus.Daemon, Member: "NameOwnerChanged", Arg0: nmName},
				bus.Signal{Sender: resolvedName, Path: resolvedPath, Interface: bus.Daemon + ".Properties", Member: "PropertiesChanged"},
				bus.Signal{Sender: nmName, Path: nmDNSPath, Interface: bus.Daemon + ".Properties", Member: "PropertiesChanged"})
			if err != nil {
				return fmt.Errorf("%w: %w", errBus, err)
			}
			defer conn.Close()
			pause = busAgain
			hint() // what happened before nobody said
			for {
				select {
				case <-conn.Context().Done(): // ends with ctx, too
					return errors.New("the bus is gone")
				case <-changes:
					hint()
				}
			}
		}()
		if err != nil && ctx.Err() == nil {
			r.log.Debug("D-Bus not watched at the moment", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// look looks at DNS when something hints at a change, and sets it again where it is lost.
func look(ctx context.Context, r *resolver, name string, hints <-chan struct{}, failed func()) {
	wait := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	patience, last := dnsPatience, time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hints:
		}
		if !wait(dnsQuiet) {
			return
		}
		select {
		case <-hints:
		default:
		}
		if !r.lost(ctx, name) {
			continue
		}
		if time.Since(last) > dnsPeace {
			patience = dnsPatience
		}
		if !wait(patience) {
			return
		}
		patience, last = min(2*patience, dnsPatienceMost), time.Now()
		r.log.Warn("DNS was changed by another program and is set again")
		if err := r.again(ctx, name); err != nil && ctx.Err() == nil {
			r.log.Warn("DNS is not set any more", "error", err)
			failed()
		}
	}
}
