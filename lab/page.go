package lab

import (
	"fmt"
	"regexp"
	"strings"
)

// Command is one that a page of docs shows: in an indented block, after the prompt of its
// machine ("client$ ", "endpoint# ", or "$ " where there is one machine only), with what it prints below. Or, in pages for
// administrators, a line of a block without prompts, or all of a block that is a script or a file.
type Command struct {
	Line    int    // in the page, from 1
	Section string // the heading above it
	Machine string // of the prompt
	Text    string // for a shell; with more lines after << or a backslash, and in a whole block
	Says    string // a line each; "" when the page does not show it
}

var (
	bare    = regexp.MustCompile(`^( {4})(\S.*)$`)
	prompt  = regexp.MustCompile(`^( {4,})(?:([a-z][a-z0-9-]*)[$#]|\$) (\S.*)$`)
	heading = regexp.MustCompile(`^##+ (.*)$`)
	hereDoc = regexp.MustCompile(`<<'?([A-Z]+)'?`)
)

// ReadPage finds the commands of a page that have prompts; with all, everything that stands in blocks. An error names the line.
func ReadPage(text string, all bool) (list []Command, err error) {
	section := ""
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		if m := heading.FindStringSubmatch(lines[i]); m != nil {
			section = m[1]
		}
		if all && strings.HasPrefix(lines[i], "```") {
			c := Command{Line: i + 2, Section: section}
			for i++; i < len(lines) && lines[i] != "```"; i++ {
				c.Text += lines[i] + "\n"
			}
			if i == len(lines) {
				return nil, fmt.Errorf("line %d: the block does not end", c.Line)
			}
			list = append(list, c)
			continue
		}
		m, plain := prompt.FindStringSubmatch(lines[i]), false
		if m == nil && all {
			if m = bare.FindStringSubmatch(lines[i]); m != nil {
				m, plain = []string{m[0], m[1], "", m[2]}, true
			}
		}
		if m == nil {
			continue
		}
		c := Command{Line: i + 1, Section: section, Machine: m[2], Text: m[3]}
		// more are the further lines of the block, as they are without its indentation.
		more := func() (string, bool) {
			if i+1 >= len(lines) || !strings.HasPrefix(lines[i+1], m[1]) {
				return "", false
			}
			i++
			return strings.TrimPrefix(lines[i], m[1]), true
		}
		for strings.HasSuffix(c.Text, ` \`) { // and not C:\Windows\
			line, ok := more()
			if !ok {
				return nil, fmt.Errorf("line %d: the command goes on after its end", c.Line)
			}
			c.Text += "\n" + line
		}
		if end := hereDoc.FindStringSubmatch(c.Text); end != nil {
			for line := ""; line != end[1]; {
				var ok bool
				if line, ok = more(); !ok {
					return nil, fmt.Errorf("line %d: no %s", c.Line, end[1])
				}
				c.Text += "\n" + line
			}
			c.Text += "\n"
		}
		switch {
		case plain && strings.HasPrefix(c.Text, "#!"): // a script, with all that follows
			for line, ok := more(); ok; line, ok = more() {
				c.Text += "\n" + line
			}
		case !plain:
			for i+1 < len(lines) && !prompt.MatchString(lines[i+1]) {
				line, ok := more()
				if !ok {
					break
				}
				c.Says += line + "\n"
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// Fails is whether the page shows the command's own word of an error, "curl: …", or ours, "adit: …", or the AWS CLI's.
func (c Command) Fails() bool {
	name, _, _ := strings.Cut(c.Text, " ")
	for _, begin := range []string{name + ": ", "An error occurred "} {
		if strings.HasPrefix(c.Says, begin) || strings.Contains(c.Says, "\n"+begin) {
			return true
		}
	}
	return false
}

// Matches compares what a command printed with what the page shows: "..." stands for some text, and on a line
// of its own for some lines. Of a command that goes on (whole is false) more may come.
func (c Command) Matches(printed string, whole bool) bool {
	if c.Says == "" {
		return true
	}
	var re strings.Builder
	re.WriteString(`\A`)
	for line := range strings.Lines(c.Says) {
		line = strings.TrimRight(line, "\n ")
		if strings.TrimSpace(line) == "..." {
			re.WriteString(`(?:.*\n)*?`)
			continue
		}
		re.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`) + `[ \r]*\n`)
	}
	if whole {
		re.WriteString(`\z`)
	}
	return regexp.MustCompile(re.String()).MatchString(strings.TrimRight(printed, "\n ") + "\n")
}
