package platform

import (
	"errors"
	"net/netip"
)

// winAPI is what Windows is told and asked, one call of the system each (iphlpapi, the registry, dnsapi). Devices are numbered by
// the value of their LUID. Safe for concurrent use.
type winAPI interface {
	// createAdapter makes an adapter of Wintun. It vanishes with the TUN.
	createAdapter(name, guid string, mtu int) (TUN, uint64, error)
	// adapters are all there are, with what is said about both families.
	adapters() ([]winAdapter, error)
	routes() ([]winRoute, error)
	// setUp makes IPv4, or IPv6, work on a device as on a tunnel: its MTU, and no looking for routers, for addresses or for who
	// else has them. setMetric makes the device's own metric a fixed one; 0 = by speed, as Windows likes it. errWinMissing
	// when the device has not that family.
	setUp(luid uint64, inet6 bool, mtu int) error
	setMetric(luid uint64, inet6 bool, metric int) error
	// setInterfaceDNS replaces servers and search domains of a family; none of both is what a new device has.
	setInterfaceDNS(luid uint64, inet6 bool, servers []netip.Addr, search []string) error
	// addAddress and addRoute: errWinExists when there is one by the same key, errWinMissing without such a device or family.
	addAddress(luid uint64, p netip.Prefix) error
	addRoute(r winRoute) error
	// setRoute changes the metric of the row with r's key; errWinMissing when there is none.
	setRoute(r winRoute) error
	// route is the row with r's key; errWinMissing when there is none.
	route(r winRoute) (winRoute, error)
	// removeAddress and removeRoute: errWinMissing when there is none.
	removeAddress(luid uint64, p netip.Prefix) error
	removeRoute(r winRoute) error
	// keys are the names of the keys below a key of the local machine; errWinMissing without the key.
	keys(path string) ([]string, error)
	// values are the values of a key. A value is a string, []string or uint32; others are left out.
	values(path string) (map[string]any, error)
	// setKey makes a key, if it is missing, and sets values. Others that are there stay.
	setKey(path string, values map[string]any) error
	// removeKey removes a key without keys below it; errWinMissing when there is none.
	removeKey(path string) error
	// refreshDNS makes the DNS client read its rules again, and forget what it knew. Policy says that those of the group
	// policy have changed, too.
	refreshDNS(policy bool) error
	// watch calls changed for each change, from goroutines of its own, until stop returns.
	watch(changed func(winEvent)) (stop func(), err error)
}

// What calls of Windows say that is no failure to most.
var (
	errWinExists  = errors.New("it is there already")
	errWinMissing = errors.New("there is no such thing")
)

// winAdapter is a network device.
type winAdapter struct {
	luid             uint64
	name             string // what people call it and may change; no two have one name
	description      string
	hardware         string
	loopback, up     bool
	addresses        []netip.Prefix
	dns              []netip.Addr
	metric4, metric6 int
}

// winRoute is a row of the routing table. Destination, gateway and device are its key.
type winRoute struct {
	destination netip.Prefix
	gateway     netip.Addr // zero: on-link
	luid        uint64
	metric      int // to which the device's own is added
}

// key is a row without what its key does not have.
func (r winRoute) key() winRoute { r.metric = 0; return r }

// winEvent is one change that Windows tells of.
type winEvent struct {
	what    winEventKind
	luid    uint64   // of links, addresses and routes
	route   winRoute // of routes; without the metric
	removed bool     // of routes
}

type winEventKind int

const (
	winLink winEventKind = iota
	winAddress
	winRouteRow
	winNames // the rules of the DNS client
)
