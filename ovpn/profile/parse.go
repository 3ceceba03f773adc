package profile

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/adit-vpn/adit/ovpn/push"
)

const (
	maxText = 8 << 20  // bytes of profile with everything inlined: a CRL may be large
	maxLine = 64 << 10 // bytes of one line outside of inline blocks
	maxWord = 256      // bytes of a line in which Mentions looks for its first word

	replaced = "\uFFFD" // stands for bytes that are not UTF-8
)

// Parse reads text. name names the profile in messages; files reads what it
// refers to. An error is an *Error, the first by line. Beside it the Profile is
// still returned when the text could be read at all, for Check to show every
// line's verdict; such a profile must not be stored or used.
func Parse(name string, text []byte, files Files) (*Profile, error) {
	p := &parser{
		p: &Profile{
			Name: name, KeyDirection: -1, Verb: -1, SetEnv: map[string]string{},
		},
		files: files, rules: rules(), tolerated: map[string]bool{}, oldPage: map[int]bool{},
	}
	fail := func(line int, why *Remark) (*Profile, error) {
		return nil, &Error{Profile: name, Line: line, Text: why.Error(), Err: why}
	}
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	switch {
	case len(text) > maxText:
		return fail(0, remark("too_large", "limit", strconv.Itoa(maxText)))
	case bytes.HasPrefix(text, []byte{0xff, 0xfe}) || bytes.HasPrefix(text, []byte{0xfe, 0xff}):
		return fail(0, remark("utf16"))
	case bytes.IndexByte(text, 0) >= 0:
		return fail(bytes.Count(text[:bytes.IndexByte(text, 0)], []byte("\n"))+1, remark("nul"))
	}
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSuffix(line, "\r")
		if !utf8.ValidString(line) { // comments in old code pages are fine; what else is not, its line says
			lines[i], p.oldPage[i+1] = strings.ToValidUTF8(lines[i], replaced), true
		}
	}
	p.folder = folder(lines)
	for i := 0; i < len(lines); i++ {
		line, number := lines[i], i+1
		if len(line) > maxLine {
			return fail(number, remark("long_line", "limit", strconv.Itoa(maxLine)))
		}
		tag, isTag := openTag(line)
		if !isTag || tag == "connection" || tag == "/connection" {
			p.line(number, line)
			continue
		}
		end := slices.IndexFunc(lines[i+1:], func(s string) bool { return closes(s, tag) })
		if end < 0 {
			return fail(number, remark("block_open", "tag", tag))
		}
		body := lines[i+1 : i+1+end]
		p.block(number, tag, strings.Join(body, "\n")+"\n")
		if !p.dropped { // a block that was rewritten
			p.out = append(p.out, lines[i:i+end+2]...)
		}
		i += end + 1
	}
	p.finish()
	p.p.source = strings.Join(p.out, "\n")
	if len(p.p.source) > maxText {
		return fail(0, remark("too_large", "limit", strconv.Itoa(maxText)))
	}
	if len(p.p.errs) == 0 {
		return p.p, nil
	}
	return p.p, slices.MinFunc(p.p.errs, func(a, b *Error) int { // line 0, the whole, comes last
		return cmp.Compare(uint(a.Line-1), uint(b.Line-1))
	})
}

// openTag recognises <tag> alone on a line.
func openTag(line string) (string, bool) {
	line = strings.TrimSpace(line)
	if len(line) < 3 || line[0] != '<' || line[len(line)-1] != '>' {
		return "", false
	}
	tag := line[1 : len(line)-1]
	return tag, !strings.ContainsAny(tag, "<> \t")
}

// folder is where openvpn is when it opens files: it goes to each cd at once, and reads files when it has read all lines.
func folder(lines []string) string {
	dir := ""
	for i := 0; i < len(lines); i++ {
		if tag, ok := openTag(lines[i]); ok && tag != "connection" && tag != "/connection" {
			i += 1 + max(0, slices.IndexFunc(lines[i+1:], func(s string) bool { return closes(s, tag) }))
			continue
		}
		if !strings.HasPrefix(strings.TrimPrefix(strings.TrimSpace(lines[i]), "--"), "cd") {
			continue
		}
		if words, err := push.Split(lines[i]); err == nil && len(words) == 2 && strings.TrimPrefix(words[0], "--") == "cd" {
			dir = within(dir, words[1])
		}
	}
	return dir
}

// within is name as seen from dir.
func within(dir, name string) string {
	if dir == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// closes reports that a line ends the block of tag. As for openvpn, what is behind the tag does not matter.
func closes(line, tag string) bool { return strings.HasPrefix(strings.TrimSpace(line), "</"+tag+">") }

// Mentions reports whether any line of a text begins with a directive that Parse knows, or opens such a block: whether
// it may be meant as a profile at all.
func Mentions(text []byte) bool {
	known, blocks := rules(), inlineRules()
	for line := range bytes.Lines(text) {
		word, _, _ := strings.Cut(strings.TrimSpace(string(line[:min(len(line), maxWord)])), " ")
		if tag, ok := openTag(word); ok {
			if _, ok := blocks[tag]; ok || tag == "connection" {
				return true
			}
			continue
		}
		word, _, _ = strings.Cut(strings.TrimPrefix(word, "--"), "\t")
		if _, ok := known[word]; ok {
			return true
		}
	}
	return false
}

// parser holds what is needed until the last line.
type parser struct {
	p         *Profile
	files     Files
	rules     map[string]rule
	out       []string // the lines of Profile.Text
	dropped   bool     // the current line was replaced by something else
	tolerated map[string]bool
	folder    string       // from which the names of files count; empty: the profile's own
	oldPage   map[int]bool // lines that are not UTF-8, from 1

	global   scope
	conn     *scope     // inside <connection>
	own      [][]string // lines for push.Own
	ownLines []int
	remotes  []pendingRemote

	override     *Proxy // http-proxy-override
	overrideLine int
	pull, tls    bool   // client or pull; tls-client
	fallback     bool   // data-ciphers-fallback was read
	bundled      []byte // CAs of a PKCS#12 file
}

// line handles everything but inline blocks.
func (p *parser) line(number int, line string) {
	p.dropped = false
	defer func() {
		if !p.dropped {
			p.out = append(p.out, line)
		}
	}()
	trimmed := strings.TrimSpace(line)
	if comment, ok := strings.CutPrefix(trimmed, "#"); ok {
		p.comment(comment)
		return
	}
	switch trimmed {
	case "<connection>":
		if p.conn != nil {
			p.fail(number, "<connection>", errors.New("inside another <connection>"))
		}
		p.conn = &scope{line: number}
		return
	case "</connection>":
		p.endConnection(number)
		return
	}
	words, err := push.Split(line)
	if len(words) > 0 {
		words[0] = strings.TrimPrefix(words[0], "--")
	}
	switch {
	case errors.Is(err, push.ErrTooManyWords):
		if r, ok := p.rules[words[0]]; ok && r.apply != nil {
			p.refuse(number, words[:1], err)
			return
		}
	case err != nil:
		name := strings.Fields(trimmed)[0]
		p.refuse(number, []string{strings.TrimPrefix(name, "--")}, err)
		return
	case len(words) == 0:
		return
	}
	if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' && r != '\v' && r != '\f' || r == 0x7f }) {
		p.refuse(number, words[:1], remark("control_character"))
		return
	}
	p.directive(number, words)
}

// comment takes the profile's name from Access Server's comments.
func (p *parser) comment(text string) {
	text = strings.TrimSpace(text)
	if name, ok := strings.CutPrefix(text, "OVPN_ACCESS_SERVER_PROFILE="); ok {
		p.suggest(name)
	}
	if name, ok := strings.CutPrefix(text, "OVPN_ACCESS_SERVER_FRIENDLY_NAME="); ok {
		p.suggest(name)
	}
}

// suggest keeps the name that the text gives itself.
func (p *parser) suggest(name string) {
	name = strings.TrimSpace(name)
	if name == "" || len(name) > 128 || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return
	}
	p.p.SuggestedName = name
	if p.p.Name == "" {
		p.p.Name = name
	}
}

func (p *parser) add(d Directive) {
	p.p.Directives = append(p.p.Directives, d)
	if d.Verdict == Refused {
		p.p.errs = append(p.p.errs, &Error{Profile: p.p.Name, Line: d.Line, Directive: d.Words[0], Text: d.Note, Err: &Remark{d.Code, d.Args}})
	}
}

// judge adds a line with a verdict that does not depend on its values.
func (p *parser) judge(line int, words []string, v Verdict, why *Remark) {
	d := Directive{Line: line, Words: words}
	d.say(v, why)
	p.add(d)
}

func (p *parser) refuse(line int, words []string, err error) {
	p.judge(line, words, Refused, remarkOf(err))
}

func (p *parser) fail(line int, directive string, err error) {
	p.p.errs = append(p.p.errs, &Error{Profile: p.p.Name, Line: line, Directive: directive, Text: err.Error(), Err: remarkOf(err)})
}

// directive looks words[0] up and applies it.
func (p *parser) directive(line int, words []string) {
	words, optional := unfold(words)
	r, ok := p.rules[words[0]]
	switch {
	case !ok && !optional && !p.tolerated[words[0]] && securityWord(words[0]):
		p.judge(line, words, Refused, remark("unknown_security"))
		return
	case !ok:
		p.judge(line, words, Ignored, remark("unknown_directive"))
		return
	case r.apply == nil:
		p.judge(line, redactWords(words), r.verdict, remark(r.why))
		return
	case len(words)-1 < r.min || len(words)-1 > r.max:
		p.judge(line, redactWords(words), Refused, remark("values", "usage", r.usage))
		return
	case p.oldPage[line] && !forPeople(words[0]) && slices.ContainsFunc(words, func(w string) bool { return strings.Contains(w, replaced) }):
		p.judge(line, redactWords(words), Refused, remark("not_utf8"))
		return
	}
	d := &Directive{Line: line, Words: redactWords(words), Verdict: r.verdict, Note: r.note}
	if err := r.apply(p, d, words[1:]); err != nil {
		d.refuse(err)
	}
	if p.conn != nil && d.Verdict == Used && d.Note == "" && !slices.Contains(perConnection(), words[0]) {
		d.Note = "does not belong into <connection>: taken for the whole file"
	}
	if p.conn != nil && d.Verdict == Used && (words[0] == "local" || words[0] == "lport") {
		d.say(Ignored, remark("outside_connection"))
	}
	p.add(*d)
}

// forPeople reports that a directive's words are only read by people: one wrong letter does not matter.
func forPeople(name string) bool {
	return slices.Contains([]string{"static-challenge", "setenv", "echo"}, name)
}

// unfold takes off "setenv opt", by which the option behind it is optional.
func unfold(words []string) (_ []string, optional bool) {
	if len(words) > 2 && words[0] == "setenv" && words[1] == "opt" {
		words, optional = words[2:], true
		words[0] = strings.TrimPrefix(words[0], "--")
	}
	return words, optional
}

// redactWords hides words that hold a secret in themselves.
func redactWords(words []string) []string {
	switch {
	case len(words) < 2:
	case words[0] == "auth-token":
		return []string{words[0], "[redacted]"}
	case words[0] == "http-proxy-option" && len(words) > 2 && !slices.Contains([]string{"VERSION", "AGENT"}, strings.ToUpper(words[1])):
		name, _, named := strings.Cut(words[2], ":")
		if name = strings.TrimSpace(name); named || len(words) > 3 {
			return []string{words[0], words[1], name, "[redacted]"}
		}
		return []string{words[0], words[1], "[redacted]"}
	}
	return words
}

// securityWord reports that an unknown directive would check the server.
func securityWord(name string) bool {
	for _, prefix := range []string{"verify-", "remote-cert-", "tls-cert-", "peer-fingerprint", "peer-cert", "crl-", "tls-crypt", "tls-auth", "data-ciphers", "pin-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// block handles <tag>body</tag>.
func (p *parser) block(line int, tag, body string) {
	p.dropped = false
	set, ok := inlineRules()[tag]
	if !ok {
		if securityWord(tag) {
			p.judge(line, []string{tag}, Refused, remark("unknown_security_block"))
			return
		}
		p.judge(line, []string{tag}, Ignored, remark("unknown_block"))
		return
	}
	d := &Directive{Line: line, Words: []string{tag, "[inline]"}}
	if strings.HasSuffix(tag, "user-pass") && p.foreign(line, body) {
		d.refuse(remark("not_utf8"))
	} else if err := set(p, d, body); err != nil {
		d.refuse(err)
	}
	p.add(*d)
}

// foreign reports that the body of a block that opens in line is not UTF-8.
func (p *parser) foreign(line int, body string) bool {
	for n := range strings.Count(body, "\n") {
		if p.oldPage[line+1+n] {
			return true
		}
	}
	return false
}

// inline replaces a line that refers to a file by an inline block, and applies it.
func (p *parser) inline(d *Directive, path string, after ...string) error {
	tag := d.Words[0]
	if path == "[inline]" {
		d.Note = "the block follows"
		return nil
	}
	body, err := p.read(path)
	if err != nil {
		return err
	}
	if tag == "pkcs12" {
		body = []byte(chunked(base64.StdEncoding.EncodeToString(body)))
	}
	body = bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))
	text := strings.TrimRight(strings.ReplaceAll(string(body), "\r\n", "\n"), "\n") + "\n"
	if strings.Contains(text, "</"+tag+">") || strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
		return fmt.Errorf("%s is not a text file of the right kind", path)
	}
	if err := inlineRules()[tag](p, d, text); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.out = append(p.out, after...)
	p.out = append(p.out, "<"+tag+">", strings.TrimSuffix(text, "\n"), "</"+tag+">")
	p.dropped = true
	return nil
}

func (p *parser) read(path string) ([]byte, error) {
	if p.files == nil {
		return nil, remark("file_refused", "file", path)
	}
	body, err := p.files(within(p.folder, path))
	if p.folder != "" && errors.Is(err, fs.ErrNotExist) { // brought here from another machine, with its files
		body, err = p.files(path)
	}
	if err != nil {
		return nil, remark("file_unreadable", "file", path, "detail", err.Error())
	}
	if len(body) > maxText {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxText)
	}
	return body, nil
}

func chunked(s string) string {
	var b strings.Builder
	for len(s) > 64 {
		b.WriteString(s[:64] + "\n")
		s = s[64:]
	}
	return b.String() + s
}

// finish does what needs all lines.
func (p *parser) finish() {
	if p.conn != nil {
		p.fail(p.conn.line, "<connection>", remark("connection_open"))
	}
	p.finishPKCS12()
	p.finishRemotes()
	p.finishKeys()
	own, err := push.Own(p.own)
	if err != nil {
		line := 0
		var e *push.OptionError
		if errors.As(err, &e) { // blame the last such line
			for i, words := range p.own {
				if words[0] == e.Option {
					line = p.ownLines[i]
				}
			}
			p.fail(line, e.Option, errors.New(e.Text))
		} else {
			p.fail(0, "", err)
		}
		own = push.Reply{PeerID: -1}
	}
	q := p.p
	own.TunMTU = p.global.mtu
	q.Own = own
	q.Ping, q.PingRestart, q.PingExit = own.Ping, own.PingRestart, own.PingExit
	q.SndBuf, q.RcvBuf = own.SndBuf, own.RcvBuf
	q.Inactive, q.InactiveBytes, q.SessionTimeout = own.Inactive, own.InactiveBytes, own.SessionTimeout
	q.Compress = own.Compress
	q.PointToPoint = p.tls && !p.pull
	if q.VerifyHash != nil && len(q.CA) == 0 {
		p.fail(0, "verify-hash", remark("needs_ca"))
	}
	p.finishDev()
	p.finishAuth()
}
