package push

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What servers say by echo options. OpenVPN itself only hands them to its user interface, so that clients that know
// none of this connect as ever. The messages are those of OpenVPN GUI (OpenVPN's doc/gui-notes.txt, "MESSAGE COMMANDS"):
//
//	echo msg TEXT          a line
//	echo msg-n TEXT        the beginning of a line, or the next part of one
//	echo msg-window TITLE  the end of the message
//	echo msg-notify TITLE  the same; it may be shown in passing
//
// In TEXT and TITLE %XX is the byte XX. Ours, of an option in exactly these words, is
//
//	echo adit client-route-enforcement
//
// for Reply.EnforceRoutes.
const (
	sayLine, sayPart, sayWindow, sayNotify = "msg", "msg-n", "msg-window", "msg-notify"

	enforceRoutes = "echo adit client-route-enforcement"
)

const (
	// maxEchoText is how long the text of one of our echo options may be, in bytes: with its name, and what
	// OpenVPN's management interface puts around it, 255 are not exceeded.
	maxEchoText = 180
	// maxMessage bounds what Message returns, bytes. AWS's banners have 1400 characters at most.
	maxMessage = 16 << 10
	// maxLines bounds its lines; the last one says … where there were more.
	maxLines = 100
)

// Message is the text of the server's messages in r: lines divided by \n, a blank line between messages, without
// control characters. It is foreign text, to be shown and never to be interpreted. Titles are left out. Empty: none.
func (r Reply) Message() string {
	var whole, message strings.Builder
	for _, text := range r.Echo {
		if words, err := Split(text); err == nil {
			text = strings.Join(words, " ") // as OpenVPN passes it on
		}
		command, text, _ := strings.Cut(text, " ")
		if whole.Len()+message.Len()+len(text) > maxMessage {
			break
		}
		switch command {
		case sayLine:
			message.WriteString(unescape(text) + "\n")
		case sayPart:
			message.WriteString(unescape(text))
		case sayWindow, sayNotify:
			if text := strings.Trim(message.String(), "\n"); text != "" {
				if whole.Len() > 0 {
					whole.WriteString("\n\n")
				}
				whole.WriteString(text)
			}
			message.Reset()
		}
	}
	return shown(whole.String())
}

// IsMessage says whether the text of an echo option is a part of a message.
func IsMessage(echo string) bool {
	command, _, _ := strings.Cut(strings.TrimLeft(echo, `"'`), " ")
	return slices.Contains([]string{sayLine, sayPart, sayWindow, sayNotify}, command)
}

// shown is text without what only devices understand, or puts text in another order than it is read in; with one blank line at
// most between others, and maxLines in all.
func shown(text string) string {
	text = strings.ToValidUTF8(strings.ReplaceAll(text, "\r\n", "\n"), string(utf8.RuneError))
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // Unicode Standard Annex 9, "Explicit Directional …"
			return -1
		case r == '\n' || printable(string(r)):
			return r
		}
		return -1
	}, text)
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if strings.TrimSpace(line) == "" {
			if line = ""; len(lines) == 0 || lines[len(lines)-1] == "" {
				continue
			}
		}
		if len(lines) == maxLines {
			lines[maxLines-1] = "…"
			break
		}
		lines = append(lines, line)
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// MessageEcho is the message for Reply.Echo, the inverse of Reply.Message: text as lines divided by \n, and the title of the
// window that shows it, which is short and in one line. An empty text is no message.
func MessageEcho(text, title string) []string {
	text = shown(text)
	if text == "" {
		return nil
	}
	var echo []string
	for line := range strings.SplitSeq(text, "\n") {
		part := ""
		for _, r := range line {
			e := escape(r)
			if len(part)+len(e) > maxEchoText {
				echo = append(echo, sayPart+" "+part)
				part = ""
			}
			part += e
		}
		echo = append(echo, strings.TrimSpace(sayLine+" "+part))
	}
	end := sayWindow + " "
	for _, r := range title {
		end += escape(r)
	}
	return append(echo, end)
}

// escape writes what OpenVPN would read as something else as %XX: commas end an option, quotes and spaces are for words,
// ; and # begin comments.
func escape(r rune) string {
	const special = ` ,%"'\;#`
	if r < utf8.RuneSelf && strings.ContainsRune(special, r) {
		return "%" + strings.ToUpper(strconv.FormatInt(int64(r), 16))
	}
	return string(r)
}

// unescape reads %XX; what is no such sequence stays.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
