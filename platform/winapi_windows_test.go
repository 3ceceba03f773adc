package platform

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

// These ask the system that they run on; those that change it need an administrator, and take back what they did.

func TestWinSystemFacts(t *testing.T) {
	m := newWinMachine(winSystem{}, nil, t.TempDir(), "test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	all, err := m.api.adapters()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(all, func(a winAdapter) bool { return a.loopback && a.up && a.luid != 0 && a.name != "" }) {
		t.Errorf("no loopback among %+v", all)
	}
	facts, err := m.facts(context.Background(), link{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", facts)
	if len(facts.Addresses) > 0 && len(facts.Routes) == 0 {
		t.Errorf("addresses %v without routes", facts.Addresses)
	}
	for _, r := range facts.Routes {
		if l, err := m.findLink(r.Device); err != nil || l.Index == 0 {
			t.Errorf("%v: %v %v", r, l, err)
		}
	}
	if _, err := m.findLink("no such device"); err == nil {
		t.Error("found a device that is not there")
	}
}

func TestWinSystemMissing(t *testing.T) {
	s := winSystem{}
	if err := s.removeKey(nrptLocal + `\no such key`); !errors.Is(err, errWinMissing) {
		t.Errorf("remove a key: %v, want that it is missing", err)
	}
	if _, err := s.values(nrptLocal + `\no such key`); !errors.Is(err, errWinMissing) {
		t.Errorf("values: %v", err)
	}
}

// Wine 8 panics here: it has not all that winipcfg calls.
func TestWinSystemMissingDevice(t *testing.T) {
	s, luid := winSystem{}, uint64(53<<48|0xfffff<<24)
	for what, err := range map[string]error{
		"set up":         s.setUp(luid, false, 1400),
		"set the metric": s.setMetric(luid, true, 0),
		"remove address": s.removeAddress(luid, netip.MustParsePrefix("10.8.0.2/24")),
		"remove route":   s.removeRoute(winRoute{destination: netip.MustParsePrefix("10.8.0.0/24"), luid: luid}),
	} {
		if !errors.Is(err, errWinMissing) {
			t.Errorf("%s: %v, want that it is missing", what, err)
		}
	}
}

// onlyNames is Windows without what a rule needs of a device, and of a service that a test has no business with.
type onlyNames struct {
	winSystem
	told int
}

func (*onlyNames) setMetric(uint64, bool, int) error                          { return nil }
func (*onlyNames) setInterfaceDNS(uint64, bool, []netip.Addr, []string) error { return nil }
func (o *onlyNames) refreshDNS(bool) error                                    { o.told++; return nil }

func TestWinSystemNames(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	api, dir := &onlyNames{}, t.TempDir()
	m := newWinMachine(api, nil, dir, "adit-test", slog.New(slog.NewTextHandler(t.Output(), nil)))
	changed := make(chan winEvent, 100)
	stop, err := api.watch(func(e winEvent) { changed <- e })
	if err != nil {
		t.Fatal(err)
	}
	d := splitPlan().DNS
	d.Split = []string{"adit-test.invalid"}
	d.DNSSEC = "yes"
	for range 2 {
		if err := m.setDNS(context.Background(), "adit-test", link{Index: 1, Device: "none"}, d, false); err != nil {
			t.Fatal(err)
		}
	}
	if api.told != 1 {
		t.Errorf("the DNS client was told %d times, want once", api.told)
	}
	if m.dns.lost() {
		t.Error("what was just written is lost")
	}
	if names, err := m.dnsNames(context.Background()); err != nil || !slices.Equal(names, []string{"adit-test"}) {
		t.Errorf("names: %v, %v", names, err)
	}
	timeout := time.After(10 * time.Second)
	for seen := false; !seen; {
		select {
		case e := <-changed:
			seen = e.what == winNames
		case <-timeout:
			t.Fatal("no notice of the change")
		}
	}
	stop()
	// As another run finds it, without the record.
	if err := os.Remove(dir + `\` + stateName); err != nil {
		t.Fatal(err)
	}
	if did, err := m.removeDNS(context.Background(), "adit-test"); !did || err != nil {
		t.Errorf("taken back: %v, %v", did, err)
	}
	if has, err := m.dns.ours(nrptLocal); err != nil || len(has) > 0 {
		t.Errorf("left: %v, %v", has, err)
	}
}

func TestWinSystemRefresh(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	if err := (winSystem{}).refreshDNS(false); err != nil {
		t.Error(err)
	}
}

func TestWinSystemAsleep(t *testing.T) {
	if interruptTime.Find() != nil || unbiasedInterruptTime.Find() != nil {
		t.Fatal("this Windows does not say how long it slept")
	}
	a := Asleep()
	time.Sleep(100 * time.Millisecond)
	if b := Asleep(); a < 0 || b-a > 50*time.Millisecond || a-b > 50*time.Millisecond {
		t.Errorf("asleep for %v, then for %v", a, b)
	}
}
