package manual

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// command is a program with all that pages show.
func command() *cobra.Command {
	root := &cobra.Command{Use: "tool", Short: "Does it", Run: func(*cobra.Command, []string) {}}
	root.PersistentFlags().String("socket", "/run/x", "where `PATH` is")
	sub := &cobra.Command{
		Use: "go NAME | go FILE --far", Short: "Go there", Run: func(*cobra.Command, []string) {},
		Long:    "It's a way.\n.hidden is a file.\n\n  key=value   a \\ table\n              of two lines\nAnd text.\n\nThe end.",
		Example: "  tool go 'x'\n  tool go y",
	}
	sub.Flags().BoolP("far", "f", false, "farther")
	sub.Flags().Bool("secret", false, "")
	_ = sub.Flags().MarkHidden("secret") // it is there
	sub.AddCommand(&cobra.Command{Use: "hidden", Hidden: true, Run: func(*cobra.Command, []string) {}})
	root.AddCommand(sub)
	return root
}

func TestPages(t *testing.T) {
	pages := Pages(command(), Edition{Version: "1.2.3", Date: time.Unix(0, 0).UTC(), See: []string{"toold(8)"}})
	if pages["tool.1"] == nil || pages["tool-go.1"] == nil || pages["tool-go-hidden.1"] != nil || pages["tool-help.1"] != nil {
		t.Fatalf("pages: %v", pages)
	}
	const want = `.TH TOOL\-GO 1 1970-01-01 "tool 1.2.3" "Adit"
.SH NAME
tool\-go \- Go there
.SH SYNOPSIS
.B tool go NAME [flags]
.br
.B tool go FILE \-\-far [flags]
.SH DESCRIPTION
It\(aqs a way.
\&.hidden is a file.
.PP
.RS 4
.EX
key=value   a \e table
            of two lines
.EE
.RE
.PP
And text.
.PP
The end.
.SH OPTIONS
.TP
.B \-f, \-\-far
farther.
.TP
.B \-h, \-\-help
help for go.
.SH OPTIONS OF EVERY COMMAND
.TP
.B \-\-socket \fIPATH\fR
where PATH is (default /run/x).
.SH EXAMPLES
.RS 4
.EX
tool go \(aqx\(aq
tool go y
.EE
.RE
.SH EXIT STATUS
0 done, 1 failed, 2 wrong usage.
.SH SEE ALSO
.BR tool (1),
.BR toold (8)
`
	if got := string(pages["tool-go.1"]); got != want {
		t.Errorf("the page is\n%s", got)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, command(), Edition{Version: "1", Date: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, pattern := range []string{"bash/*", "fish/*", "zsh/*", "man1/tool*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			if text, err := os.ReadFile(f); err != nil || !strings.Contains(strings.ToLower(string(text)), "tool") {
				t.Errorf("%s: %v, %d bytes", f, err, len(text))
			}
			rel, _ := filepath.Rel(dir, f)
			files = append(files, rel)
		}
	}
	if want := []string{"bash/tool", "fish/tool.fish", "zsh/_tool", "man1/tool-completion.1", "man1/tool-go.1", "man1/tool.1"}; !slices.Equal(files, want) {
		t.Errorf("files: %v", files)
	}
}

func TestMainRefuses(t *testing.T) {
	for _, args := range [][]string{nil, {t.TempDir()}, {t.TempDir(), "1", "yesterday"}, {filepath.Join(t.TempDir(), "file\x00"), "1", "0"}} {
		if Main(command(), args) != 1 {
			t.Errorf("%q is taken", args)
		}
	}
}
