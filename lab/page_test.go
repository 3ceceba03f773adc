//go:build linux

package lab

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const pages = "../docs/walkthroughs"

// walk follows a page of docs: it gives each command to a shell on the machine that the page names, in
// the page's order, and compares what it prints. A command that is neither executed nor told why fails the test.
type walk struct {
	*site
	name     string
	commands []Command
	next     int
	machines map[string]*Node
	// Swap is what the page can only give an example of, and what a test has in its place, in commands and answers.
	Swap [][2]string
	// Stays are the beginnings of commands that go on in a terminal of their own.
	Stays []string
	// Wrap changes how a shell is started for commands that begin so.
	Wrap map[string]func(argv []string) []string
	// Terminal takes what is typed without a prompt, and returns what that prints; the error is a failure.
	Terminal func(command string) (printed string, err error)
	// Apart are commands that are not executed here, with the reason: their first lines, as the page has them.
	Apart map[string]string

	apart   map[string]bool // of Apart, what was met
	running map[string]*Proc
	held    bool
}

// page opens one of docs/walkthroughs; machines have the names of its prompts.
func (s *site) page(name string, machines map[string]*Node) *walk {
	s.t.Helper()
	w := follow(s.t, filepath.Join(pages, name), false)
	w.site, w.machines = s, machines
	return w
}

// follow opens a page. With all, everything in its blocks is a command, and has to be executed or to be told why not.
func follow(t *testing.T, path string, all bool) *walk {
	t.Helper()
	w := &walk{site: &site{t: t}, name: filepath.Base(path), apart: map[string]bool{}, running: map[string]*Proc{}}
	text, err := os.ReadFile(path)
	if err == nil {
		w.commands, err = ReadPage(string(text), all)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			return
		}
		if w.next < len(w.commands) {
			t.Errorf("%s:%d: no test executes this command, nor those after it: %s", w.name, w.commands[w.next].Line, w.commands[w.next].Text)
		}
		for c := range w.Apart {
			if !w.apart[c] {
				t.Errorf("%s does not show what is said to be apart: %s", w.name, c)
			}
		}
	})
	return w
}

// rest executes all commands that are left, and tells after each what it was and what it printed.
func (w *walk) rest(after func(c Command, printed string)) {
	w.t.Helper()
	for w.next < len(w.commands) {
		c := w.commands[w.next]
		after(c, w.step())
	}
}

// section executes the commands below a heading, which must be the next one with any, and returns what they print.
func (w *walk) section(title string) (said []string) {
	w.t.Helper()
	if w.next >= len(w.commands) || w.commands[w.next].Section != title {
		w.t.Fatalf("%s has no commands below %q next", w.name, title)
	}
	for w.next < len(w.commands) && w.commands[w.next].Section == title {
		said = append(said, w.step())
	}
	return said
}

// hold lets a person do what the page says, on the machines that the test has made: with ADIT_LAB_HOLD the test says how to
// enter each, and waits until it is interrupted.
func (w *walk) hold() {
	if os.Getenv("ADIT_LAB_HOLD") == "" || w.held {
		return
	}
	w.held = true
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe machines of docs/walkthroughs/%s. In a terminal for each:\n", w.name)
	for _, name := range slices.Sorted(maps.Keys(w.machines)) {
		fmt.Fprintf(&b, "\n  # %s\n  %s\n", cmp.Or(name, "the machine"), w.entry(name))
	}
	for _, s := range w.Swap {
		if s[0] != "scp " && !strings.HasSuffix(s[0], ":") {
			fmt.Fprintf(&b, "\nIn place of %q write %q.\n", s[0], s[1])
		}
	}
	fmt.Fprint(os.Stderr, b.String(), "\nCtrl-C here ends them.\n")
	select {}
}

// entry is the command that opens a shell on a machine, with our programs, and an scp that knows the page's machines.
func (w *walk) entry(machine string) string {
	w.t.Helper()
	n := w.machines[machine]
	p := w.start(n, "holder", "sleep", "infinity")
	var to strings.Builder
	for name, other := range w.machines {
		fmt.Fprintf(&to, "%s) to=%s;;\n", cmp.Or(name, "''"), other.Dir)
	}
	tools := filepath.Join(n.Dir, ".tools")
	w.ok(os.MkdirAll(tools, 0o755))
	w.ok(os.WriteFile(filepath.Join(tools, "scp"), []byte("#!/bin/sh\ncase ${2%%:*} in\n"+to.String()+"esac\nexec cp \"$1\" \"$to/${2#*:}\"\n"), 0o755))
	path := strings.Join([]string{tools, filepath.Dir(bin(w.t, "adit")), "$PATH", "/usr/sbin", "/usr/share/easy-rsa"}, ":")
	enter := filepath.Join(tools, "enter")
	w.ok(os.WriteFile(enter, fmt.Appendf(nil, "#!/bin/sh\nexport HOME=%s PATH=%s PS1='%s# '\nexec nsenter --target=%d --net --mount --wd sh \"$@\"\n",
		n.Dir, path, machine, p.Cmd.Process.Pid), 0o755))
	return enter
}

// TestPageEntry enters a machine as a person does who follows a page on one machine.
func TestPageEntry(t *testing.T) {
	t.Parallel()
	needs(t, "nsenter")
	s := newSite(t)
	w := &walk{site: s, machines: map[string]*Node{"client": s.client, "endpoint": s.server}}
	s.write(s.server, "endpoint.yaml", "data: elsewhere\n")
	script := filepath.Join(s.server.Dir, "script")
	s.write(s.server, "script", "command -v adit adit-endpoint; ip -o addr show eth0; scp endpoint.yaml client:taken; exit\n")
	out, err := exec.Command(w.entry("endpoint"), script).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "198.51.100.1/24") || !strings.Contains(string(out), bin(t, "adit")+"\n") {
		t.Errorf("%v: %s", err, out)
	}
	if s.read(filepath.Join(s.client.Dir, "taken")) != "data: elsewhere\n" {
		t.Error("the file was not taken to the other machine")
	}
}

// step executes the next command.
func (w *walk) step() string {
	w.t.Helper()
	w.hold()
	c := w.commands[w.next]
	w.next++
	first, _, _ := strings.Cut(c.Text, "\n")
	if why := w.Apart[first]; why != "" {
		w.apart[first] = true
		w.t.Logf("%s:%d: not executed: %s: %s", w.name, c.Line, first, why)
		return ""
	}
	for _, s := range w.Swap {
		c.Text, c.Says = strings.ReplaceAll(c.Text, s[0], s[1]), strings.ReplaceAll(c.Says, s[0], s[1])
	}
	if w.Terminal != nil && c.Machine == "" {
		printed, err := w.Terminal(c.Text)
		if err != nil {
			w.t.Fatalf("%s:%d: %s\n%v\n%s", w.name, c.Line, c.Text, err, printed)
		}
		return printed
	}
	n := w.machines[c.Machine]
	if n == nil {
		w.t.Fatalf("%s:%d: there is no machine %q", w.name, c.Line, c.Machine)
	}
	path := "export PATH=" + filepath.Dir(bin(w.t, "adit")) + ":$PATH:/usr/sbin:/usr/share/easy-rsa\n"
	argv := []string{"/bin/sh", "-c", path + c.Text}
	stays := ""
	for _, s := range w.Stays {
		if strings.HasPrefix(c.Text, s) {
			stays, argv[2] = s, path+"exec "+c.Text
		}
	}
	for begin, f := range w.Wrap {
		if strings.HasPrefix(c.Text, begin) {
			argv = f(argv)
		}
	}
	wrong := func(format string, args ...any) {
		w.t.Helper()
		w.t.Fatalf("%s:%d: %s\n%s\nthe page shows\n%s", w.name, c.Line, c.Text, fmt.Sprintf(format, args...), c.Says)
	}
	if stays != "" {
		p := w.start(n, c.Text, argv...)
		w.running[stays] = p
		for end := time.Now().Add(6 * soon); !c.Matches(p.Out.String(), false); time.Sleep(20 * time.Millisecond) {
			select {
			case <-p.Done():
				if !c.Matches(p.Out.String(), false) {
					wrong("ended: %v\n%s", p.Err(), p.Out)
				}
			default:
			}
			if time.Now().After(end) {
				wrong("prints\n%s", p.Out)
			}
		}
		return p.Out.String()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	p, err := n.Start(argv...)
	w.ok(err)
	select {
	case <-p.Done():
	case <-ctx.Done():
		p.Stop(syscall.SIGKILL, time.Second)
		wrong("does not end, and prints\n%s", p.Out)
	}
	if (p.Err() != nil) != c.Fails() {
		wrong("ends with %v, and prints\n%s", p.Err(), p.Out)
	}
	if !c.Matches(p.Out.String(), true) {
		wrong("prints\n%s", p.Out)
	}
	return p.Out.String()
}

// end is Ctrl-C in the terminal of a command that goes on.
func (w *walk) end(begin string) {
	w.t.Helper()
	p := w.running[begin]
	if p == nil {
		w.t.Fatalf("%s does not run", begin)
	}
	w.ok(p.Cmd.Process.Signal(syscall.SIGINT))
	select {
	case <-p.Done():
	case <-time.After(soon):
		w.t.Fatalf("%s does not end", begin)
	}
}

// TestEveryPageIsFollowed: each page has a test that executes it.
func TestEveryPageIsFollowed(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(pages, "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	install, err := filepath.Glob("../docs/install/*.md")
	if err != nil || len(install) == 0 {
		t.Fatal(install, err)
	}
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, f := range tests {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	for _, f := range files {
		if filepath.Base(f) == "README.md" {
			continue
		}
		if !strings.Contains(all.String(), fmt.Sprintf(".page(%q", filepath.Base(f))) {
			t.Errorf("no test follows %s", f)
		}
	}
	for _, f := range append(install, "../docs/migrate.md", "../docs/policy.md") {
		if !strings.Contains(all.String(), fmt.Sprintf("t, %q, true)", f)) {
			t.Errorf("no test follows %s", f)
		}
	}
}

func TestReadPage(t *testing.T) {
	const page = "# A page\n\nText $ not a command.\n\n    neither = this\n\n## 1. First\nText:\n\n" +
		"    client$ adit connect lab\n    connected lab\n      address  ..., MTU 1500\n    ...\n    end\n    endpoint# cat >a <<'EOF'\n    one: 1\n    client$ two\n    EOF\n\n" +
		"## 2. Second\n1. In a list:\n\n       $ adit a \\\n           b\n       adit: no\n"
	list, err := ReadPage(page, false)
	if err == nil && len(list) != 3 {
		t.Fatalf("%d commands: %+v", len(list), list)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []Command{
		{10, "1. First", "client", "adit connect lab", "connected lab\n  address  ..., MTU 1500\n...\nend\n"},
		{15, "1. First", "endpoint", "cat >a <<'EOF'\none: 1\nclient$ two\nEOF\n", ""},
		{23, "2. Second", "", "adit a \\\n    b", "adit: no\n"},
	}
	for i, c := range list {
		if c != want[i] {
			t.Errorf("%+v, expected %+v", c, want[i])
		}
	}
	if list[0].Fails() || !list[2].Fails() {
		t.Error("only the second section's command fails")
	}
	for printed, fits := range map[string]bool{
		"connected lab\n  address  10.0.0.2, MTU 1500\nend\n":       true,
		"connected lab\n  address  10.0.0.2, MTU 1500\na\nb\nend":   true,
		"connected lab\n  address  10.0.0.2, MTU 1500\n":            false,
		"connected lab\n  address  10.0.0.2, MTU 1400\nend\n":       false,
		"connected lab\n  address  10.0.0.2, MTU 1500\nend\nmore\n": false,
	} {
		if list[0].Matches(printed, true) != fits {
			t.Errorf("%q fits: %t", printed, !fits)
		}
	}
	if !list[0].Matches("connected lab\n  address  , MTU 1500\nend\nmore\n", false) {
		t.Error("more may come of a command that goes on")
	}
	everything := strings.Replace(page, "## 2. Second\n", "## 2. Second\n\n    make \\\n      all\n    make dist\n\nA script:\n\n    #!/bin/sh\n    run\n\n```json\n{\n\n}\n```\n", 1)
	if list, err = ReadPage(everything, true); err != nil {
		t.Fatal(err)
	}
	want = []Command{
		{5, "", "", "neither = this", ""}, want[0], want[1],
		{22, "2. Second", "", "make \\\n  all", ""}, {24, "2. Second", "", "make dist", ""},
		{28, "2. Second", "", "#!/bin/sh\nrun", ""}, {32, "2. Second", "", "{\n\n}\n", ""},
		{38, "2. Second", "", "adit a \\\n    b", "adit: no\n"},
	}
	if !slices.Equal(list, want) {
		t.Errorf("%+v\nexpected %+v", list, want)
	}
	for _, bad := range []string{"    $ cat <<EOF\n    one\n\nEOF\n", "    $ adit \\\n"} {
		if _, err := ReadPage(bad, false); err == nil {
			t.Errorf("%q is read", bad)
		}
	}
}
