// Package diagnose makes the bundle of adit diagnose: what somebody who helps wants to see, without anything that
// would let them in. It runs in the user's own process, with the user's rights: what the service tells this user, and
// what the system tells everybody. It changes nothing and sends nothing.
package diagnose

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/routes"
)

const (
	askTimeout  = 5 * time.Second // for each question to the service
	largestFile = 4 << 20         // of one file in the bundle, bytes
)

// Entry is one file of a bundle.
type Entry struct {
	Name string `json:"name"`
	What string `json:"what"` // in words, for people
	// Missing says why there is nothing; else Text is the content, redacted.
	Missing string `json:"missing,omitempty"`
	Text    []byte `json:"-"`
}

// Source is where a bundle comes from.
type Source struct {
	Client *api.Client // of the service; the caller closes it
	Socket string      // its path, to look at
	Own    api.Version // the program that asks
	Now    time.Time
}

// Collect asks the service and the system, and returns the files in the order of the bundle; README.txt is the first. What
// cannot be had is there with the reason. The error is ctx's.
func Collect(ctx context.Context, src Source) ([]Entry, error) {
	b := &bundle{ctx: ctx, c: src.Client.AsUser()}
	b.service(src)
	for _, p := range b.profiles() {
		b.profile(p)
	}
	b.ways()
	b.system()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return slices.Insert(b.entries, 0, readme(b.entries, src.Now)), nil
}

type bundle struct {
	ctx     context.Context
	c       *api.Client
	entries []Entry
	status  api.Status // of the user's own and the managed connections
	used    map[string]bool
}

// add puts in a file, or the reason why there is none.
func (b *bundle) add(name, what string, text []byte, err error) {
	e := Entry{Name: name, What: what}
	switch {
	case err != nil:
		e.Missing = redactAll(oneLine(err.Error()))
	case len(text) == 0:
		e.Missing = "it is empty"
	case len(text) > largestFile:
		e.Text = append(bytes.Clone(text[:largestFile]), "\n[cut here]\n"...)
	default:
		e.Text = text
	}
	b.entries = append(b.entries, e)
}

func (b *bundle) addJSON(name, what string, v any, err error) {
	var text []byte
	if err == nil {
		text, err = redactJSON(v)
	}
	b.add(name, what, text, err)
}

func (b *bundle) addText(name, what, text string, err error) {
	b.add(name, what, []byte(redactAll(text)), err)
}

// ask asks the service one thing.
func ask[T any](b *bundle, f func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, askTimeout)
	defer cancel()
	v, err := f(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("the service did not answer within %v", askTimeout)
	}
	return v, err
}

// service puts in what runs and what it does for this user.
func (b *bundle) service(src Source) {
	v, err := ask(b, b.c.Version)
	versions := struct {
		Time  time.Time    `json:"time"`
		Adit  api.Version  `json:"adit"`
		Aditd *api.Version `json:"aditd"`
	}{src.Now.UTC(), src.Own, nil}
	state := struct {
		Socket string `json:"socket"`
		Mode   string `json:"mode"`
		Answer string `json:"answer"`
	}{src.Socket, "", "it runs and answers"}
	if err == nil {
		versions.Aditd = &v
	} else {
		state.Answer = err.Error()
	}
	if info, err := os.Lstat(src.Socket); err == nil {
		state.Mode = info.Mode().String()
	} else {
		state.Mode = err.Error()
	}
	b.addJSON("versions.json", "versions of adit and of the service, and when this was made", versions, nil)
	b.addJSON("service.json", "whether the service runs, and its socket", state, nil)

	s, err := ask(b, b.c.Status)
	own := slices.DeleteFunc(s.Connections, func(c api.Connection) bool { return c.Profile == "" }) // another user's
	for i := range own {
		if l := own[i].Login; l != nil {
			c := *l
			c.ID = ""
			if c.URL != "" {
				c.URL = redacted
			}
			own[i].Login = &c
		}
	}
	s.Connections = own
	b.status = s
	b.addJSON("status.json", "your connections, as adit status --json prints them", s, err)

	lines, err := ask(b, func(ctx context.Context) (string, error) {
		var text strings.Builder
		err := b.c.Logs(ctx, false, func(l api.LogLine) error {
			fmt.Fprintf(&text, "%s %-5s %s: %s\n", l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), l.Level, l.Profile, redactAll(l.Text))
			return nil
		})
		return text.String(), err
	})
	b.add("log.txt", "what the service did for you, as adit logs prints it, in UTC", []byte(lines), err)
}

// profiles puts in the list of the user's profiles and returns it.
func (b *bundle) profiles() []api.Profile {
	list, err := ask(b, b.c.Profiles)
	b.addJSON("profiles.json", "your profiles, as adit profiles --json prints them", list, err)
	return list
}

// profile puts in one profile without its secrets, and its settings.
func (b *bundle) profile(p api.Profile) {
	file := "profiles/" + b.unique(p.Name)
	text, err := ask(b, func(ctx context.Context) (api.ProfileText, error) { return b.c.Show(ctx, p.Name) })
	b.add(file+".ovpn", "a profile without its keys and passwords", []byte(Redact(profile.Redact(text.Text))), err)
	settings, err := ask(b, func(ctx context.Context) (api.Settings, error) { return b.c.Settings(ctx, p.Name) })
	b.addJSON(file+".settings.json", "its settings, as adit set prints them", settings, err)
}

// unique is a profile's name as a file name that no other entry has, whatever the archive is opened with.
func (b *bundle) unique(name string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, name)
	if b.used == nil {
		b.used = map[string]bool{}
	}
	candidate := safe
	for i := 2; candidate == "" || b.used[strings.ToLower(candidate)]; i++ {
		candidate = fmt.Sprintf("%s_%d", safe, i)
	}
	b.used[strings.ToLower(candidate)] = true
	return candidate
}

// ways puts in which way packets would go to the servers, to the tunnels' resolvers, and to anywhere else.
func (b *bundle) ways() {
	dests := []string{"192.0.2.1", "2001:db8::1"} // no host has them (RFC 5737, RFC 3849): what goes for all others goes for these
	for _, c := range b.status.Connections {
		for _, d := range append([]string{c.Server.Address}, c.DNS.Servers...) {
			if a, err := netip.ParseAddr(d); err == nil && !slices.Contains(dests, a.String()) {
				dests = append(dests, a.String())
			}
		}
	}
	var list []routes.Explanation
	for _, d := range dests {
		x, err := ask(b, func(ctx context.Context) (routes.Explanation, error) { return b.c.Explain(ctx, d) })
		if err != nil {
			b.addJSON("explain.json", "which way packets go", nil, err)
			return
		}
		list = append(list, x)
	}
	b.addJSON("explain.json", "which way packets go: to anywhere (192.0.2.1, 2001:db8::1), to the servers, to the tunnels' resolvers", list, nil)
}

// readme says what each file is, and what is missing.
func readme(entries []Entry, now time.Time) Entry {
	var b strings.Builder
	fmt.Fprintf(&b, `Made by adit diagnose on %s, for somebody who helps you. Look at it before you give it away.

It has no keys, passwords, tokens, cookies or sign-in addresses, and nothing of other users' tunnels: what
looks like one of these reads %s. It does have names and addresses of your VPN servers and networks, your
user name, your certificates without their keys, and this machine's addresses and routes.

`, now.UTC().Format("2006-01-02 15:04:05 UTC"), redacted)
	for _, e := range entries {
		if e.Missing == "" {
			fmt.Fprintf(&b, "%s\n    %s\n", e.Name, e.What)
		}
	}
	for i, e := range slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return e.Missing == "" }) {
		if i == 0 {
			b.WriteString("\nMissing:\n")
		}
		fmt.Fprintf(&b, "%s (%s)\n    %s\n", e.Name, e.What, e.Missing)
	}
	return Entry{Name: "README.txt", What: "what each file is", Text: []byte(b.String())}
}

// Write writes the entries that are not missing as a zip archive.
func Write(w io.Writer, entries []Entry, now time.Time) error {
	z := zip.NewWriter(w)
	for _, e := range entries {
		if e.Missing != "" {
			continue
		}
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate, Modified: now.UTC()}
		h.SetMode(0o600)
		f, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := f.Write(e.Text); err != nil {
			return err
		}
	}
	return z.Close()
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
