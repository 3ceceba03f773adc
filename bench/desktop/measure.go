//go:build linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jezek/xgb"
	"github.com/jezek/xgb/damage"
	"github.com/jezek/xgb/xproto"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/lab"
	"github.com/adit-vpn/adit/lab/seat"
)

// measureStarts starts the app and the empty window in turns, on a display without a window manager: from the start
// of the process to the first picture.
func (b *bench) measureStarts() error {
	s, err := b.seat(false, false)
	if err != nil {
		return err
	}
	defer s.Close()
	empty := []string{filepath.Join(b.dir, "empty")}
	var own, other []time.Duration
	for i := range b.starts + 1 {
		for _, c := range []struct {
			argv []string
			took *[]time.Duration
		}{{empty, &other}, {b.app(), &own}} {
			d, err := b.firstPicture(s, c.argv)
			if err != nil {
				return err
			}
			if i > 0 { // the first fills the caches
				*c.took = append(*c.took, d)
			}
		}
	}
	a, e := median(own), median(other)
	fmt.Fprintf(b.out, "first picture  app %d ms, empty window %d ms, ratio %.2f (medians of %d in turns); fastest %d and %d ms, ratio %.2f\n",
		a.Milliseconds(), e.Milliseconds(), float64(a)/float64(e), b.starts, slices.Min(own).Milliseconds(), slices.Min(other).Milliseconds(), float64(slices.Min(own))/float64(slices.Min(other)))
	return nil
}

// firstPicture is the time from a program's start to something on the display. It ends the program.
func (b *bench) firstPicture(s *seat.Seat, argv []string) (time.Duration, error) {
	lit := func() bool {
		c, err := s.Pixel(400, 600)
		return err == nil && int(c.R)+int(c.G)+int(c.B) > 0
	}
	if err := b.until("the display is dark", readyTime, func() bool { return !lit() }); err != nil {
		return 0, err
	}
	begin := time.Now()
	p, err := b.start(s, argv...)
	if err != nil {
		return 0, err
	}
	if err := b.until("a picture of "+filepath.Base(argv[0]), readyTime, lit); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, p.Out)
	}
	took := time.Since(begin)
	_ = p.Stop(syscall.SIGTERM, readyTime) // which it may not listen to yet
	return took, nil
}

// running starts the app and waits for its window.
func (b *bench) running(s *seat.Seat) (p *lab.Proc, window uint32, err error) {
	if p, err = b.start(s, b.app()...); err != nil {
		return nil, 0, err
	}
	err = b.until("the window", readyTime, func() (ok bool) { window, ok = s.Window("Adit"); return ok })
	return p, window, err
}

// settle is how long what follows a change may take to be drawn.
const settle = 5 * time.Second

// measureRest watches the app while nothing happens: disconnected and connected, its window open and hidden, and without
// the service.
func (b *bench) measureRest() error {
	s, err := b.seat(true, true)
	if err != nil {
		return err
	}
	defer s.Close()
	p, window, err := b.running(s)
	if err != nil {
		return err
	}
	d, err := watchDamage(s, window)
	if err != nil {
		return err
	}
	defer d.close()
	watch := func(what string) error {
		time.Sleep(settle)
		cpu, err := processorTime(p)
		if err != nil {
			return err
		}
		drawn, begin := d.drawn(), time.Now()
		select {
		case <-b.ctx.Done():
			return b.ctx.Err()
		case <-time.After(b.rest):
		}
		wall := time.Since(begin)
		end, err := processorTime(p)
		if err != nil {
			return err
		}
		fmt.Fprintf(b.out, "%-25s %.2f pictures a second, %.2f %% of one processor\n", what, float64(d.drawn()-drawn)/wall.Seconds(), 100*float64(end-cpu)/float64(wall))
		return nil
	}
	if err := watch("open, disconnected"); err != nil {
		return err
	}
	if err := b.press(s, "Connect work"); err != nil {
		return err
	}
	if err := b.state(api.Connected); err != nil {
		return err
	}
	if err := watch("open, connected"); err != nil {
		return err
	}
	if err := s.Key("ctrl+w"); err != nil {
		return err
	}
	if err := b.until("the window is hidden", readyTime, func() bool { _, open := s.Window("Adit"); return !open }); err != nil {
		return err
	}
	if err := watch("hidden, connected"); err != nil {
		return err
	}
	if err := b.press(s, "Disconnect work"); err != nil {
		return err
	}
	if err := b.state(api.Disconnected); err != nil {
		return err
	}
	if err := watch("hidden, disconnected"); err != nil {
		return err
	}
	if err := b.daemon.Stop(syscall.SIGTERM, readyTime); err != nil {
		return err
	}
	if err := watch("hidden, without service"); err != nil {
		return err
	}
	if err := b.serve(); err != nil {
		return err
	}
	return b.quit(s, p)
}

// quit ends the app by its menu.
func (b *bench) quit(s *seat.Seat, p *lab.Proc) error {
	if err := b.press(s, "Quit"); err != nil {
		return err
	}
	select {
	case <-p.Done():
	case <-time.After(readyTime):
		return fmt.Errorf("the app does not end within %s", readyTime)
	}
	if err := p.Err(); err != nil || p.Out.String() != "" {
		return fmt.Errorf("the app ended with %v and said %q", err, p.Out)
	}
	return nil
}

// processorTime is what a process has used so far (proc_pid_stat(5): fields 14 and 15, in hundredths of a second).
func processorTime(p *lab.Proc) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 13 {
		return 0, fmt.Errorf("the system says %q of the app", b)
	}
	user, err := strconv.Atoi(f[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond, err
}

// privateMemory is what a process has written for itself (proc_pid_smaps(5)), KiB. Pages of libraries that nobody else uses at
// the moment are private, too, but not its own doing.
func privateMemory(p *lab.Proc) (kib int, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.Cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "Private_Dirty:" {
			n, err := strconv.Atoi(f[1])
			if err != nil {
				return 0, err
			}
			kib += n
		}
	}
	return kib, nil
}

// damaged counts pictures of a window, by the X server's word (the DAMAGE extension).
type damaged struct {
	conn *xgb.Conn
	mu   sync.Mutex
	n    int
	done sync.WaitGroup
}

// onePicture is how long the parts of one picture may be apart: it comes in pieces.
const onePicture = 8 * time.Millisecond

func watchDamage(s *seat.Seat, window uint32) (*damaged, error) {
	var display string
	for _, e := range s.Env {
		if is, ok := strings.CutPrefix(e, "DISPLAY="); ok {
			display = is
		}
	}
	conn, err := xgb.NewConnDisplay(display)
	if err != nil {
		return nil, err
	}
	d := &damaged{conn: conn}
	err = damage.Init(conn)
	if err == nil {
		_, err = damage.QueryVersion(conn, 1, 1).Reply()
	}
	if err == nil {
		var id damage.Damage
		if id, err = damage.NewDamageId(conn); err == nil {
			err = damage.CreateChecked(conn, id, xproto.Drawable(window), damage.ReportLevelRawRectangles).Check()
		}
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("watch the window: %w", err)
	}
	d.done.Go(func() {
		var last time.Time
		for {
			event, err := conn.WaitForEvent()
			if event == nil && err == nil {
				return // closed
			}
			if _, ok := event.(damage.NotifyEvent); !ok {
				continue
			}
			now := time.Now()
			if now.Sub(last) > onePicture {
				d.mu.Lock()
				d.n++
				d.mu.Unlock()
			}
			last = now
		}
	})
	return d, nil
}

func (d *damaged) drawn() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func (d *damaged) close() {
	d.conn.Close()
	d.done.Wait()
}

// few is how many connections there are before goroutines are counted first, and warm how long before memory is read
// first, at most half of the time: the toolkit keeps what it has drawn for a minute. It is read again each time that tell
// is over.
const (
	few  = 10
	warm = 100 * time.Second
	tell = 5 * time.Minute
)

// measureCycles connects and disconnects from the tray, with the window open. Goroutines are counted in what Go
// prints of a process that is told to quit (SIGQUIT): of one after a few connections, and of another after all.
func (b *bench) measureCycles() error {
	first, _, err := b.cycle(func(n int, _ time.Duration) bool { return n < few })
	if err != nil {
		return err
	}
	last, g, err := b.cycle(func(_ int, since time.Duration) bool { return since < b.hold })
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "goroutines     %d after %d connections, %d after %d\n", first, few, last, g.n)
	fmt.Fprintf(b.out, "private memory %.1f MiB after %s, %.1f MiB after %s\n", float64(g.before)/1024, g.warm.Round(time.Second), float64(g.after)/1024, g.took.Round(time.Second))
	return nil
}

// growth is private memory in KiB after a while and after all n connections.
type growth struct {
	before, after, n int
	warm, took       time.Duration
}

// cycle connects and disconnects while on says so, and counts the goroutines that are left.
func (b *bench) cycle(on func(n int, since time.Duration) bool) (goroutines int, g growth, err error) {
	s, err := b.seat(true, true)
	if err != nil {
		return 0, g, err
	}
	defer s.Close()
	p, _, err := b.running(s)
	if err != nil {
		return 0, g, err
	}
	begin := time.Now()
	told := begin
	for ; on(g.n, time.Since(begin)); g.n++ {
		if since := time.Since(begin); g.before == 0 && since > min(warm, b.hold/2) || time.Since(told) > tell {
			told = time.Now()
			m, err := privateMemory(p)
			if err != nil {
				return 0, g, err
			}
			if g.before == 0 {
				g.warm, g.before = since, m
			}
			fmt.Fprintf(b.out, "               %.1f MiB after %s and %d connections\n", float64(m)/1024, since.Round(time.Second), g.n)
		}
		for _, step := range []struct {
			press string
			to    api.State
		}{{"Connect work", api.Connected}, {"Disconnect work", api.Disconnected}} {
			if err := b.press(s, step.press); err != nil {
				return 0, g, err
			}
			if err := b.state(step.to); err != nil {
				return 0, g, err
			}
			select {
			case <-b.ctx.Done():
				return 0, g, b.ctx.Err()
			case <-time.After(b.pause):
			}
		}
	}
	g.took = time.Since(begin)
	time.Sleep(settle)
	if g.after, err = privateMemory(p); err != nil {
		return 0, g, err
	}
	_ = p.Stop(syscall.SIGQUIT, readyTime) // which it calls an error
	return strings.Count(p.Out.String(), "\ngoroutine "), g, nil
}
