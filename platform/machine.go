package platform

import (
	"context"
	"net/netip"

	"github.com/adit-vpn/adit/routes"
)

// machine is what the Host of macOS and of Windows asks of its system, one effect a call. All calls may be repeated: to add
// what is there, and to remove what is gone, is no error. They come from one goroutine at a time; Hosts have a machine each.
type machine interface {
	// openTUN makes a device; name is a hint. Its MTU is set.
	openTUN(name string, mtu int) (TUN, link, error)
	setMTU(l link, mtu int) error
	addAddress(l link, p netip.Prefix) error
	removeAddress(l link, p netip.Prefix) error
	// findLink finds the device that Facts call name.
	findLink(name string) (link, error)
	// addRoute is also told of rows that are there. Made is false where an equal row was there already; the Host knows
	// whether it is one of ours, and removes no others. One to the same destination by another way is an error.
	addRoute(r row) (made bool, err error)
	// removeRoute leaves a row alone that somebody else has changed meanwhile.
	removeRoute(r row) (did bool, err error)
	// facts is the underlay: without the device own (its Index is 0 if there is none) and rows that we made.
	facts(ctx context.Context, own link) (routes.Facts, error)
	// setDNS makes d what tunnel name wants of the resolver; full says that all traffic goes through it. d is not
	// zero, and its values are valid (validDNS). On error nothing need be left as it was: removeDNS follows.
	setDNS(ctx context.Context, name string, l link, d routes.DNS, full bool) error
	// removeDNS is also told of names that have set none.
	removeDNS(ctx context.Context, name string) (did bool, err error)
	// dnsNames are the names of the Hosts of this journal directory that have set DNS, as the system itself shows it.
	dnsNames(ctx context.Context) ([]string, error)
	// closeGuard is told each wanted guard that stops or announces something, also when it is closed already: who can, looks
	// whether it still is. It is atomic: what was there stays until g is in force whole.
	closeGuard(name string, g routes.Guard) error
	// openGuard is also told of names whose guard is open.
	openGuard(name string) (did bool, err error)
	// guards are the names of the Hosts of this journal directory whose guard is closed, as the system itself shows
	// it: also those of crashed runs. A system without a firewall has none.
	guards() (names []string, err error)
	// watch calls signal when links, addresses or routes have changed, but those of the device that own says yes to, and
	// rows that we made. Stop waits until signal is called no more. It is called once.
	watch(own func(index int) bool, signal func()) (stop func(), err error)
	// lasting says whether something of it outlives a restart of the system, and so the journal must.
	lasting() bool
}
