package manage

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// What launchctl print says of a running daemon, as macOS 14 words it in Apple's developer forums; no Mac was asked.
const printed = `system/com.adit.aditd = {
	active count = 1
	path = /Library/LaunchDaemons/com.adit.aditd.plist
	type = LaunchDaemon
	state = running

	program = /Library/Adit/aditd
	arguments = {
		/Library/Adit/aditd
	}

	default environment = {
		PATH => /usr/bin:/bin:/usr/sbin:/sbin
	}

	spawn type = interactive (4)
	runs = 1
	pid = 314
	immediate reason = speculative
	forks = 0
	execs = 1

	endpoints = {
		state = waiting
		pid = 1
	}
}
`

func TestParsePrint(t *testing.T) {
	if got := parsePrint(printed); got != (Status{State: Running, PID: 314, Program: "/Library/Adit/aditd"}) {
		t.Errorf("%+v", got)
	}
	if got := parsePrint("x = {\n\tstate = spawn scheduled\n\tpid = -1\n}\n"); got != (Status{State: Starting}) {
		t.Errorf("%+v", got)
	}
}

func FuzzParsePrint(f *testing.F) {
	f.Add(printed)
	f.Add("\tpid = 99999999999999999999\n\tstate = \n\tprogram")
	f.Fuzz(func(t *testing.T, said string) {
		s := parsePrint(said)
		if s.PID < 0 || s.State != Running && s.State != Starting || strings.ContainsAny(s.Program, "\n") {
			t.Errorf("%+v", s)
		}
	})
}

// launchctl is launchd as its manual page says.
type launchctl struct {
	loaded  bool
	lingers int // looks for which it still knows a service that was unloaded
	asked   []string
	broken  string // the command that fails
	word    string // the file that says that the service is started again
}

func (l *launchctl) run(_ context.Context, args ...string) (string, error) {
	said := strings.Join(args, " ")
	switch args[0] {
	case "print":
		if !l.loaded && l.lingers == 0 {
			return "", errors.New("exit status 113: Could not find service in domain for system")
		}
		if !l.loaded {
			l.lingers--
		}
		return printed, nil
	case l.broken:
		return "", errors.New("exit status 5: Input/output error")
	case "bootstrap":
		l.loaded = true
	case "bootout":
		if _, err := os.Stat(l.word); err == nil {
			said += " (to be started again)"
		}
		l.loaded, l.lingers = false, 3
	}
	l.asked = append(l.asked, said)
	return "", nil
}

func TestLaunchd(t *testing.T) {
	ctx := context.Background()
	plist := filepath.Join(t.TempDir(), "com.adit.aditd.plist")
	word := filepath.Join(filepath.Dir(plist), "restart")
	logs := []string{plist + ".log", plist + ".log.0", plist + ".log.1"}
	for _, file := range logs[:2] {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctl := &launchctl{word: word}
	var ran []string
	administrator := true
	var untrusted error
	replaced := false
	m := &Manager{
		sys: &launchd{label: "com.adit.aditd", plist: plist, word: word, logs: logs, pause: time.Millisecond, ctl: ctl.run, text: func(program string) (string, error) {
			return "<plist>\n<string>com.adit.aditd</string>\n<array>\n\t<string>" + program + "</string>\n</array>\n", nil
		}},
		allowed: func() bool { return administrator },
		check:   func(string) error { return untrusted },
		// The last start has taken it.
		replaced: func(int, string) bool { was := replaced; replaced = false; return was },
		run: func(_ context.Context, program string, args ...string) (string, error) {
			ran = append(ran, program+" "+strings.Join(args, " "))
			return "nothing to undo", nil
		},
	}
	asked := func(want ...string) {
		t.Helper()
		if !reflect.DeepEqual(ctl.asked, want) {
			t.Errorf("launchctl %q, want %q", ctl.asked, want)
		}
		ctl.asked = nil
	}
	const program = "/Library/Adit/aditd"

	if s, err := m.Status(ctx); err != nil || s != (Status{Manager: "launchd", State: NotInstalled}) {
		t.Errorf("%+v %v", s, err)
	}
	if _, _, err := m.Start(ctx); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("start: %v", err)
	}
	if _, err := m.Stop(ctx); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("stop: %v", err)
	}
	if _, _, err := m.Uninstall(ctx, false, ""); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("uninstall: %v", err)
	}
	administrator = false
	if _, _, err := m.Install(ctx, program); !errors.Is(err, ErrRights) {
		t.Errorf("without rights: %v", err)
	}
	administrator, untrusted = true, ErrUntrusted
	if _, _, err := m.Install(ctx, program); !errors.Is(err, ErrUntrusted) {
		t.Errorf("untrusted: %v", err)
	}
	untrusted = nil
	asked()

	s, already, err := m.Install(ctx, program)
	if err != nil || already || s.State != Running || s.Program != program || s.PID != 314 || !s.Automatic {
		t.Errorf("install: %+v %v %v", s, already, err)
	}
	asked("enable system/com.adit.aditd", "bootstrap system "+plist)
	if info, err := os.Stat(plist); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o644 {
		t.Errorf("the list: %v %v", info, err)
	}
	if _, already, err = m.Install(ctx, program); !already || err != nil {
		t.Errorf("again: %v %v", already, err)
	}
	asked("enable system/com.adit.aditd")
	replaced = true
	if _, already, err = m.Install(ctx, program); already || err != nil {
		t.Errorf("with another file in its place: %v %v", already, err)
	}
	asked("enable system/com.adit.aditd", "bootout system/com.adit.aditd (to be started again)", "bootstrap system "+plist)
	if _, already, err = m.Install(ctx, "/Library/Adit2/aditd"); already || err != nil {
		t.Errorf("another: %v %v", already, err)
	}
	asked("enable system/com.adit.aditd", "bootout system/com.adit.aditd (to be started again)", "bootstrap system "+plist)

	if _, err := os.Stat(word); err == nil {
		t.Error("the word for a restart stays")
	}
	if already, err := m.Stop(ctx); already || err != nil {
		t.Errorf("stop: %v %v", already, err)
	}
	asked("bootout system/com.adit.aditd")
	if s, err := m.Status(ctx); err != nil || s != (Status{Manager: "launchd", State: Stopped, Automatic: true, Program: "/Library/Adit2/aditd"}) {
		t.Errorf("stopped: %+v %v", s, err)
	}
	if already, err := m.Stop(ctx); !already || err != nil {
		t.Errorf("stop: %v %v", already, err)
	}
	ctl.broken = "bootstrap"
	if _, _, err := m.Start(ctx); err == nil || !strings.Contains(err.Error(), "start the service: exit status 5") {
		t.Errorf("start: %v", err)
	}
	ctl.broken = ""
	if s, already, err := m.Start(ctx); already || err != nil || s.State != Running {
		t.Errorf("start: %+v %v %v", s, already, err)
	}
	if _, already, err := m.Start(ctx); !already || err != nil {
		t.Errorf("start: %v %v", already, err)
	}
	asked("bootstrap system " + plist)

	// Uninstalling forgets the service last: if the clean-up fails, it can be repeated.
	if before, said, err := m.Uninstall(ctx, true, ""); err != nil || said != "nothing to undo" || before.State != Running {
		t.Errorf("uninstall: %+v %q %v", before, said, err)
	}
	asked("bootout system/com.adit.aditd")
	if want := []string{program + " cleanup --purge"}; !reflect.DeepEqual(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	if left, err := filepath.Glob(plist + "*"); err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

func TestPlistProgram(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "",
		"<string>com.adit</string>\n": "",
		"\t\t<string>/a/b</string>\n<string>/c</string>": "/a/b",
		"<string>/a&amp;b &lt;c&#39;</string>":           "/a&b <c'",
		"<string>/a":                                     "",
	} {
		if got := plistProgram([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
