package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/client/reach"
	"github.com/adit-vpn/adit/platform/probe"
	"github.com/adit-vpn/adit/routes"
)

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
	target, err := reach.Parse(text)
	if err != nil {
		return usage(cmd, "%v", err)
	}
	c := a.service()
	defer c.Close()
	if target, err = target.Resolve(ctx); errors.As(err, new(*reach.LookupError)) {
		return hinted(err, "see which resolver is asked: adit status", "or give an address")
	} else if err != nil {
		return err
	}
	x, err := c.Explain(ctx, target.Address.String())
	if err != nil {
		return err
	}
	if !asJSON {
		if target.Name != "" {
			a.out.line("%s is %s, says this system's resolver", target.Name, target.Address)
		}
		a.out.explanation(x)
	}
	r, err := reach.Try(ctx, c, target, x)
	if errors.Is(err, reach.ErrNoDevice) {
		return hinted(fmt.Errorf("cannot probe: %w", err), "use what it offers: its SOCKS5 or HTTP proxy, or a forward")
	} else if err != nil {
		return err
	}
	words, hint := verdict(r)
	if asJSON {
		out := probed{Name: target.Name, Explanation: x, Probe: r.Probe, Entered: r.Entered, Text: words}
		if r.Verdict == reach.Answered {
			out.RTT = float64(r.Probe.RTT.Microseconds()) / 1000
		}
		if err := a.out.json(out); err != nil {
			return err
		}
	} else {
		a.out.line("probe: %s", words)
	}
	if r.Verdict == reach.Answered {
		return nil
	}
	return hinted(fmt.Errorf("no answer from %s", text), hint)
}

// verdict says what came of the probes, and what to do.
func verdict(report reach.Report) (words, hint string) {
	x, r := report.Explanation, report.Probe
	what := "ping"
	if r.Method == "tcp" {
		what = fmt.Sprintf("TCP port %d", r.Port)
	}
	silence := fmt.Sprintf("no answer to %d probes (%s)", r.Sent, what)
	const otherPort = "try a port on which it listens: adit explain --probe DEST:PORT"
	switch report.Verdict {
	case reach.Answered:
		return fmt.Sprintf("answered in %s (%s)", milliseconds(r.RTT), what), ""
	case reach.Refused:
		return fmt.Sprintf("refused: the host is there, nothing listens on that port (%s)", what), "try another port, or ask who runs the host"
	case reach.NoRoute:
		return "no route: this machine knows no way to it", "see the tunnel's routes: adit routes"
	case reach.Closed:
		return "no route: " + x.Text, "see the tunnel's routes: adit routes"
	case reach.Unreachable:
		return fmt.Sprintf("unreachable: the network or a router on the way says that the host cannot be reached (%s)", what), "ask who runs that network"
	case reach.Firewall:
		return fmt.Sprintf("this machine's own firewall blocked it (%s)", what), "the guard did not: look at the firewall's rules"
	case reach.Guarded:
		return "the guard blocked it: " + strings.TrimPrefix(x.Guard, "the guard blocks it: "), "connect again, or open the guard: adit disconnect"
	case reach.Lost:
		return "entered the tunnel, no answer: ask for a route and an authorization rule for it (" + what + ")", "or the host does not answer: " + otherPort
	case reach.Outside:
		return silence + ", and nothing entered the tunnel", "see whether it is connected: adit status"
	}
	return silence, otherPort
}

// milliseconds prints a duration as ping does.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}
