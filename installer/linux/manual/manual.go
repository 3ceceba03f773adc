// Package manual makes what a package ships beside a command line and can be told from it: a manual page for
// each command (man(7)), and completions for shells. It starts no goroutine.
//
// The programs themselves do not link it: cmd/adit and cmd/adit-endpoint become its writers with the tag manual.
package manual

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Edition is what stands in the head and the foot of each page.
type Edition struct {
	Version string
	Date    time.Time // of which the day is shown
	See     []string  // pages of other programs, such as "aditd(8)"
}

// Main is what a program does that only writes its pages: args are a directory, the version and the seconds
// since 1970. It returns the exit code, after a line to stderr.
func Main(root *cobra.Command, args []string, see ...string) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, "manual:", err)
		return 1
	}
	if len(args) != 3 {
		return fail(fmt.Errorf("needs a directory, a version and a time, not %d arguments", len(args)))
	}
	var seconds int64
	if _, err := fmt.Sscan(args[2], &seconds); err != nil {
		return fail(fmt.Errorf("%q are no seconds since 1970", args[2]))
	}
	if err := Write(args[0], root, Edition{Version: args[1], Date: time.Unix(seconds, 0).UTC(), See: see}); err != nil {
		return fail(err)
	}
	return 0
}

// Write puts the pages into dir/man1, and completions into dir/bash, dir/zsh and dir/fish under the names by which the shells
// find them.
func Write(dir string, root *cobra.Command, e Edition) error {
	name := root.Name()
	files := map[string][]byte{}
	for page, text := range Pages(root, e) {
		files[filepath.Join("man1", page)] = text
	}
	var bash, zsh, fish bytes.Buffer
	for _, err := range []error{root.GenBashCompletionV2(&bash, true), root.GenZshCompletion(&zsh), root.GenFishCompletion(&fish, true)} {
		if err != nil {
			return err
		}
	}
	files[filepath.Join("bash", name)] = bash.Bytes()
	files[filepath.Join("zsh", "_"+name)] = zsh.Bytes()
	files[filepath.Join("fish", name+".fish")] = fish.Bytes()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Pages are the pages of a program and of each of its commands, by file name.
func Pages(root *cobra.Command, e Edition) map[string][]byte {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	pages := map[string][]byte{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		pages[pageName(c)+".1"] = page(c, e)
		for _, sub := range documented(c) {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

// documented are the commands below c that have a page: not help, as the pages are it, and not the shells of cobra's own completion.
func documented(c *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool {
		return !sub.IsAvailableCommand() || sub.Name() == "help" || c.Name() == "completion"
	})
}

func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func page(c *cobra.Command, e Edition) []byte {
	c.InitDefaultHelpFlag()
	var b bytes.Buffer
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH %s 1 %s "%s" "Adit"`, strings.ToUpper(quote(pageName(c))), e.Date.Format(time.DateOnly), quote(c.Root().Name()+" "+e.Version))
	line(".SH NAME")
	line(`%s \- %s`, quote(pageName(c)), quote(strings.TrimSuffix(c.Short, ".")))
	line(".SH SYNOPSIS")
	for i, way := range synopsis(c) {
		if i > 0 {
			line(".br")
		}
		line(".B %s", quote(way))
	}
	line(".SH DESCRIPTION")
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	prose(&b, long)
	if subs := documented(c); len(subs) > 0 {
		line(".SH COMMANDS")
		for _, sub := range subs {
			line(".TP\n.BR %s (1)\n%s", quote(pageName(sub)), text(sub.Short+"."))
		}
	}
	options(&b, "OPTIONS", c.NonInheritedFlags())
	options(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.Example != "" {
		line(".SH EXAMPLES\n.RS 4")
		literal(&b, strings.Split(c.Example, "\n"))
	}
	line(".SH EXIT STATUS\n0 done, 1 failed, 2 wrong usage.")
	var see []string
	if c.HasParent() {
		see = append(see, pageName(c.Parent())+"(1)")
	}
	see = append(see, e.See...)
	if len(see) > 0 {
		line(".SH SEE ALSO")
		for i, s := range see {
			name, section, _ := strings.Cut(s, "(")
			end := ","
			if i == len(see)-1 {
				end = ""
			}
			line(".BR %s (%s%s", quote(name), section, end)
		}
	}
	return b.Bytes()
}

// synopsis are the ways to write a command, apart.
func synopsis(c *cobra.Command) []string {
	if len(documented(c)) > 0 && !strings.Contains(c.Use, " ") {
		return []string{c.CommandPath() + " COMMAND [flags]"}
	}
	before := ""
	if c.HasParent() {
		before = c.Parent().CommandPath() + " "
	}
	var ways []string
	for _, way := range strings.Split(c.Use, " | ") {
		if c.HasAvailableFlags() && !strings.Contains(way, "[flags]") {
			way += " [flags]"
		}
		ways = append(ways, before+way)
	}
	return ways
}

func options(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		arg, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n.B ")
		if f.Shorthand != "" {
			b.WriteString(quote("-" + f.Shorthand + ", "))
		}
		b.WriteString(quote("--" + f.Name))
		if arg != "" {
			fmt.Fprintf(b, ` \fI%s\fR`, quote(arg))
		}
		switch f.DefValue {
		case "", "false", "0", "0s", "[]":
		default:
			usage += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "\n%s\n", text(usage+"."))
	})
}

// prose writes paragraphs, between which are blank lines; lines that begin with a space or a tab stand as they are.
func prose(b *bytes.Buffer, s string) {
	type block struct {
		literal bool
		lines   []string
	}
	var blocks []block
	apart := true
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(line) == "" {
			apart = true
			continue
		}
		is := line[0] == ' ' || line[0] == '\t'
		if last := len(blocks) - 1; !apart && blocks[last].literal == is {
			blocks[last].lines = append(blocks[last].lines, line)
		} else {
			blocks = append(blocks, block{is, []string{line}})
		}
		apart = false
	}
	for i, at := range blocks {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if at.literal {
			b.WriteString(".RS 4\n")
			literal(b, at.lines)
			continue
		}
		for _, line := range at.lines {
			b.WriteString(text(line) + "\n")
		}
	}
}

// literal writes lines as they are, without what all of them are indented by, and ends the indentation of the page around them.
func literal(b *bytes.Buffer, lines []string) {
	margin := -1
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\t", "    ")
		if in := len(lines[i]) - len(strings.TrimLeft(lines[i], " ")); margin < 0 || in < margin {
			margin = in
		}
	}
	b.WriteString(".EX\n")
	for _, l := range lines {
		b.WriteString(text(strings.TrimRight(l[margin:], " ")) + "\n")
	}
	b.WriteString(".EE\n.RE\n")
}

// quote makes characters stand for themselves that would mean something to troff.
func quote(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// text is a line of a page: quoted, and never a request.
func text(s string) string {
	s = quote(s)
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
