package platform

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/adit-vpn/adit/routes"
)

// link is a network device. Comparable by its Index alone.
type link struct {
	Index  int    `json:"index,omitempty"`  // the system's number of it, on Windows the value of its LUID; 0 = none
	Device string `json:"device,omitempty"` // its name, for people
}

// row is one row of the kernel's main routing table, comparable by its key.
type row struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     netip.Addr   `json:"gateway"` // zero: on-link
	link                     // zero when unreachable
	Metric      int          `json:"metric,omitempty"`
	Unreachable bool         `json:"unreachable,omitempty"`
}

// key is a row without what is only for people.
func (r row) key() row { r.Device = ""; return r }

// firstMetric is ours where a metric is needed: below those that the kernel and network
// managers give, so that our row wins over an equal one, which stays as it is.
const firstMetric = 50

// ownMetric keeps rows of two tunnels to one server apart, so that one ends without the other's row.
func ownMetric(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return firstMetric + 1 + int(h.Sum32()%900)
}

// planRows turns a plan's routes into rows, routes around first. Name is the Host's, own the tunnel's device.
func planRows(plan routes.Plan, name string, own link, find func(device string) (link, error)) ([]row, error) {
	var out []row
	var errs []error
	links := map[string]link{own.Device: own}
	add := func(r routes.Route, device string, metric int) {
		if r.Metric != 0 {
			metric = r.Metric
		}
		w := row{Destination: r.Destination.Masked(), Metric: metric, Unreachable: r.Unreachable}
		if r.Destination.Bits() <= 0 {
			errs = append(errs, fmt.Errorf("route %s: a default route is never replaced", r.Destination))
			return
		}
		if !r.Unreachable {
			if r.Device != "" {
				device = r.Device
			}
			if links[device].Index == 0 {
				l, err := find(device)
				if err != nil {
					errs = append(errs, fmt.Errorf("route %s: device %q: %w", r.Destination, device, err))
					return
				}
				links[device] = l
			}
			w.Gateway, w.link = r.Gateway, links[device]
		}
		out = append(out, w)
	}
	for _, r := range plan.Around {
		add(r, "", ownMetric(name))
	}
	for _, r := range plan.Routes {
		metric := 0
		if r.Unreachable {
			metric = ownMetric(name)
		} else if !r.Destination.Addr().Is4() {
			metric = firstMetric
		}
		add(r, own.Device, metric)
	}
	return out, errors.Join(errs...)
}
