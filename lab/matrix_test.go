//go:build linux

package lab

import (
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

const (
	streamDuration = 9 * time.Second // of a cell's TCP stream
	renegotiate    = 3               // seconds between renegotiations
	longestStall   = time.Second
	busyMachine    = 50 * time.Millisecond // a sender that is later than this
)

// outcome is what a cell measured, for the table.
type outcome struct {
	cell    cell
	passed  bool
	renegs  int
	flows   [2]flow
	lost    int
	noticed time.Duration
}

// TestMatrix connects all pairs of peers with a set of cells in which every two
// options meet. With ADIT_LAB=full every three meet, openvpn also connects to
// itself, and a table is printed. ADIT_LAB_OPENVPN may name another openvpn.
func TestMatrix(t *testing.T) {
	t.Parallel()
	needs(t, "openvpn")
	full := os.Getenv("ADIT_LAB") == "full"
	list := cells(2, aditToOpenVPN, openVPNToAdit, aditToEndpoint)
	if full {
		list = cells(3, aditToOpenVPN, openVPNToAdit, aditToEndpoint)
		list = append(list, cells(2, openVPNToOpenVPN)...)
	}
	var mu sync.Mutex
	var outcomes []outcome
	t.Run("cells", func(t *testing.T) {
		for _, c := range list {
			t.Run(c.name(), func(t *testing.T) {
				t.Parallel()
				o := outcome{cell: c}
				defer func() {
					o.passed = !t.Failed()
					mu.Lock()
					outcomes = append(outcomes, o)
					mu.Unlock()
				}()
				runCell(t, c, &o)
			})
		}
	})
	if full {
		fmt.Print(table(list, outcomes))
	}
}

// table lists outcomes in the order of the list.
func table(list []cell, outcomes []outcome) string {
	byCell := map[cell]outcome{}
	for _, o := range outcomes {
		byCell[o.cell] = o
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PEERS\tTRANSPORT\tOUTSIDE\tWRAP\tCIPHER\tKEYS\tNCP\tTOPOLOGY\tFRAMING\tFRAGMENT\tRESULT\tRENEGOTIATIONS\tLONGEST GAP TO SERVER\tTO CLIENT\tLOST\tEXIT NOTICED")
	passed := 0
	for _, c := range list {
		o, ran := byCell[c]
		if !ran {
			continue
		}
		result := "FAIL"
		if o.passed {
			result = "ok"
			passed++
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%v\t%v\t%d\t%v\n", c.Peers, strings.Join(c.values(), "\t"), result, o.renegs,
			o.flows[0].MaxGap.Round(time.Millisecond), o.flows[1].MaxGap.Round(time.Millisecond), o.lost, o.noticed.Round(time.Millisecond))
	}
	w.Flush()
	fmt.Fprintf(&b, "%d of %d cells passed\n", passed, len(list))
	return b.String()
}

// runCell connects the two peers and checks what must hold for all of them.
func runCell(t *testing.T, c cell, o *outcome) {
	s := newSite(t)
	p, key := newPKI(t), staticKey()
	outside := s.tap(s.server, "eth0")
	if c.Fragment == "fragment" { // the tap shall see each datagram, not a train of them
		s.ok(s.client.NoTrains("eth0"))
		s.ok(s.server.NoTrains("eth0"))
	}
	l := connectCell(s, p, key, c)

	l.checkOptionsStrings(t, c)
	four, six := s.tunnelAddrs(s.client)
	if !four.IsValid() || !six.IsValid() {
		t.Fatalf("the client's tunnel has the addresses %v and %v", four, six)
	}
	s.reaches(s.client, none, hostAddr)
	s.reaches(s.client, none, hostAddr6)
	s.reaches(s.server, serverInner, four)
	s.reaches(s.server, serverInner6, six)
	agreed := regexp.MustCompile(`((Data Channel|Epoch Data key \d+): [Cc]ipher '|msg=connected.* cipher=)` + c.cipher() + `\b`)
	s.until(soon, "that "+c.cipher()+" is in use", func() bool { return agreed.MatchString(l.facts()) }) // words come after deeds
	if got := l.exporter(); got != (c.Keys == "exporter") {
		t.Errorf("the exporter is in use: %t", got)
	}

	st, err := startStream(s.client, s.host, netip.AddrPortFrom(hostAddr, 5001))
	s.ok(err)
	e, err := startEchoes(s.client, s.host, netip.AddrPortFrom(hostAddr, 5002))
	s.ok(err)
	time.Sleep(streamDuration)
	o.flows, err = st.end()
	if err != nil {
		t.Error(err)
	}
	sent, lost := e.end()
	may := 0
	if late := max(o.flows[0].Late, o.flows[1].Late); late > busyMachine {
		may = sent / 50 // socket buffers hold 100 packets
	}
	if o.lost = lost; lost > may || sent < 500 {
		t.Errorf("%d of %d datagrams were lost", lost, sent)
	}
	for i, direction := range []string{"to the server", "to the client"} {
		f := o.flows[i]
		if f.MaxGap > longestStall+2*f.Late {
			t.Errorf("the stream %s stood still for %v, %v after its start (its sender for %v)", direction, f.MaxGap, f.At, f.Late)
		}
		if least := int64(streamDuration/streamPace) * streamRecord / 4; f.Bytes < least {
			t.Errorf("the stream %s carried %d bytes, expected %d at least", direction, f.Bytes, least)
		}
	}
	if o.renegs = l.renegotiations(); o.renegs < 2 {
		t.Errorf("%d renegotiations during the stream", o.renegs)
	}
	outside.checkCell(t, c)
	left := time.Now()
	l.leave()
	s.until(atOnce, "the other side notices the exit", l.noticed)
	o.noticed = time.Since(left)
	l.left()
}
