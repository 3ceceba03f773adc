package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

// probeWait is how long each of three probes waits for an answer: most of the second is for a SYN that is sent again
// after a second.
const probeWait = 2 * time.Second

func newExplain(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "explain DEST",
		Short: "Say which way a packet to DEST would go, and why",
		Long: `Say which way a packet to the address or name DEST would go: through which tunnel, around it
or past it, the route that decides, and what the guard does with it. Nothing is sent.

With --probe, also try it: at most three probes of this command itself go the way that the
system gives them. With a port they open a TCP connection. Without one they are ICMP echo
requests (ping), or TCP to ports 443 and 80 where the system does not let you ping. The
exit code is then 0 when there was an answer and 1 when there was none.`,
		Example: `  adit explain 10.0.0.5
  adit explain 2001:db8::1 --json
  adit explain --probe 10.0.0.5
  adit explain --probe intranet.corp.example:443`,
		Args: wants(1, 1, "one destination"),
	}
	asJSON := jsonFlag(cmd)
	try := cmd.Flags().Bool("probe", false, "send up to three probes to DEST or DEST:PORT and say what came of them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *try {
			return a.probe(cmd, args[0], *asJSON)
		}
		c := a.service()
		defer c.Close()
		x, err := c.Explain(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if *asJSON {
			return a.out.json(x)
		}
		a.out.explanation(x)
		return nil
	}
	return cmd
}

// probed is the form of adit explain --probe --json.
type probed struct {
	Name        string             `json:"name,omitempty"` // as given, where it is a name
	Explanation routes.Explanation `json:"explanation"`
	Probe       probe.Result       `json:"probe"`
	RTT         float64            `json:"rtt_ms"` // milliseconds; 0 without an answer
	// Entered says that the tunnel's counter of sent packets grew meanwhile.
	Entered bool   `json:"entered_tunnel"`
	Text    string `json:"text"`
}

// probe explains the way to a destination, tries it, and fails when nobody answered.
func (a *app) probe(cmd *cobra.Command, text string, asJSON bool) error {
	ctx := cmd.Context()
	host, port, err := destination(text)
	if err != nil {
		return usage(cmd, "%v", err)
	}
	c := a.service()
	defer c.Close()
	var out probed
	addr, err := netip.ParseAddr(host)
	if err != nil {
		if addr, err = lookup(ctx, host); err != nil {
			return err
		}
		out.Name = host
	}
	if out.Explanation, err = c.Explain(ctx, addr.String()); err != nil {
		return err
	}
	if !asJSON {
		if out.Name != "" {
			a.out.line("%s is %s, says this system's resolver", out.Name, addr)
		}
		a.out.explanation(out.Explanation)
	}
	if out.Explanation.Way == routes.WayTunnel && out.Explanation.Device == "" {
		return hinted(errors.New("cannot probe: this tunnel ends in a program, and no route of the system leads into it"),
			"use what it offers: its SOCKS5 or HTTP proxy, or a forward")
	}
	before := sentBy(ctx, c, out.Explanation)
	if out.Probe, err = probe.Do(ctx, addr, port, probeWait); err != nil {
		return err
	}
	out.Entered = sentBy(ctx, c, out.Explanation) > before
	if out.Probe.Outcome == probe.Answered {
		out.RTT = float64(out.Probe.RTT.Microseconds()) / 1000
	}
	words, hint := verdict(out)
	out.Text = words
	if asJSON {
		if err := a.out.json(out); err != nil {
			return err
		}
	} else {
		a.out.line("probe: %s", words)
	}
	if out.Probe.Outcome == probe.Answered {
		return nil
	}
	return hinted(fmt.Errorf("no answer from %s", text), hint)
}

// destination reads DEST or DEST:PORT; an IPv6 address with a port is in brackets. Port is 0 where there is none.
func destination(text string) (host string, port uint16, err error) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, 0, nil
	}
	host = text
	if strings.HasPrefix(text, "[") && strings.HasSuffix(text, "]") {
		host = text[1 : len(text)-1]
	} else if strings.Contains(text, ":") {
		h, p, err := net.SplitHostPort(text)
		if err != nil {
			return "", 0, fmt.Errorf("%q is neither DEST nor DEST:PORT", text)
		}
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("%q is not a port", p)
		}
		host, port = h, uint16(n)
	}
	if _, err := netip.ParseAddr(host); err != nil {
		if host == "" || len(host) > 253 || strings.ContainsAny(host, "[]/:% \t\r\n\x00") {
			return "", 0, fmt.Errorf("%q is neither an address nor a name", host)
		}
	}
	return host, port, nil
}

// lookup asks the system's resolver, as every program of the user does, and takes the address that it puts first.
func lookup(ctx context.Context, name string) (netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	if err != nil || len(addrs) == 0 {
		var wrong *net.DNSError
		if errors.As(err, &wrong) {
			err = errors.New(wrong.Err)
		}
		return netip.Addr{}, hinted(fmt.Errorf("this system's resolver has no address for %s: %w", name, cmp.Or(err, errors.New("none was given"))),
			"see which resolver is asked: adit status", "or give an address")
	}
	return addrs[0].Unmap(), nil
}

// sentBy is how many packets the tunnel of x has taken so far; 0 where x leads into none, or into another user's.
func sentBy(ctx context.Context, c *api.Client, x routes.Explanation) uint64 {
	s, err := c.Status(ctx)
	if err != nil || x.Way != routes.WayTunnel || x.Profile == "" {
		return 0
	}
	for _, t := range s.Connections {
		if t.Profile == x.Profile && t.Tunnel.Device == x.Device {
			return t.Counters.TxPackets
		}
	}
	return 0
}

// verdict says what came of the probes, and what to do.
func verdict(p probed) (words, hint string) {
	x, r := p.Explanation, p.Probe
	what := "ping"
	if r.Method == "tcp" {
		what = fmt.Sprintf("TCP port %d", r.Port)
	}
	silence := fmt.Sprintf("no answer to %d probes (%s)", r.Sent, what)
	switch r.Outcome {
	case probe.Answered:
		return fmt.Sprintf("answered in %s (%s)", milliseconds(r.RTT), what), ""
	case probe.Refused:
		return fmt.Sprintf("refused: the host is there, nothing listens on that port (%s)", what), "try another port, or ask who runs the host"
	case probe.NoRoute:
		return "no route: this machine knows no way to it", "see the tunnel's routes: adit routes"
	case probe.Unreachable:
		if x.Way == routes.WayUnreachable || x.Way == routes.WayNone {
			return "no route: " + x.Text, "see the tunnel's routes: adit routes"
		}
		return fmt.Sprintf("unreachable: the network or a router on the way says that the host cannot be reached (%s)", what), "ask who runs that network"
	case probe.Blocked:
		if !x.Blocked {
			return fmt.Sprintf("this machine's own firewall blocked it (%s)", what), "the guard did not: look at the firewall's rules"
		}
		return guardDid(x)
	}
	switch {
	case x.Blocked: // a SYN that the firewall drops is silence to a program
		return guardDid(x)
	case x.Way == routes.WayTunnel && p.Entered:
		return "entered the tunnel, no answer: ask for a route and an authorization rule for it (" + what + ")",
			"or the host does not answer: try a port on which it listens, adit explain --probe DEST:PORT"
	case x.Way == routes.WayTunnel && x.Profile != "":
		return silence + ", and nothing entered the tunnel", "see whether it is connected: adit status"
	}
	return silence, "try a port on which it listens: adit explain --probe DEST:PORT"
}

func guardDid(x routes.Explanation) (words, hint string) {
	return "the guard blocked it: " + strings.TrimPrefix(x.Guard, "the guard blocks it: "), "connect again, or open the guard: adit disconnect"
}

// milliseconds prints a duration as ping does.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}
