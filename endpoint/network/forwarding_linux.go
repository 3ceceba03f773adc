package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
)

// forward lets packets be forwarded from the TUN and from the interfaces of w,
// and returns the settings that it holds.
func (k *Kernel) forward(w Wanted) ([]string, error) {
	var held []string
	if w.ClientCIDR.IsValid() {
		// The TUN's own setting goes with the TUN.
		if err := setSysctl("net/ipv4/conf/"+k.device()+"/forwarding", "1"); err != nil {
			return nil, err
		}
	}
	if w.ClientCIDR6.IsValid() {
		path := "net/ipv6/conf/all/forwarding"
		if k.eachForwards6() {
			if err := setSysctl("net/ipv6/conf/"+k.device()+"/force_forwarding", "1"); err != nil {
				return nil, err
			}
		} else if err := k.hold(path, "1"); err != nil {
			return nil, err
		} else {
			held = append(held, path)
		}
	}
	for _, name := range k.interfaces(w) {
		more, err := k.forwardBy(w, name)
		if err != nil {
			return nil, err
		}
		held = append(held, more...)
	}
	return held, nil
}

// eachForwards6 says whether single interfaces can forward IPv6, since Linux 6.17.
func (k *Kernel) eachForwards6() bool {
	_, err := getSysctl("net/ipv6/conf/" + k.device() + "/force_forwarding")
	return err == nil
}

// forwardBy lets packets be forwarded from an interface of w and returns the settings that it holds: none while it is gone.
func (k *Kernel) forwardBy(w Wanted, name string) (held []string, err error) {
	if _, err := k.rtnl.LinkByName(name); noLink(err) {
		return nil, nil
	}
	set := func(path, value string) {
		if err == nil {
			held, err = append(held, path), k.hold(path, value)
		}
	}
	if w.ClientCIDR.IsValid() {
		set("net/ipv4/conf/"+name+"/forwarding", "1")
		named := func(a Association) bool { return a.Interface == name }
		if w.apart() && slices.ContainsFunc(w.Associations, named) && (k.strict(name) || slices.Contains(k.sysctl, reversePath(name))) {
			set(reversePath(name), "2")
		}
	}
	if w.ClientCIDR6.IsValid() && k.eachForwards6() {
		set("net/ipv6/conf/"+name+"/force_forwarding", "1")
	}
	return held, err
}

// hold holds a setting of the kernel in shared.
func (k *Kernel) hold(path, value string) error {
	known := slices.Contains(k.sysctl, path)
	if now, err := getSysctl(path); known && err == nil && now == value {
		return nil
	}
	if err := k.shared.hold(path, value); err != nil {
		return err
	}
	if !known {
		k.sysctl = append(k.sysctl, path)
	}
	return nil
}

// reversePath is the setting by which an interface refuses packets from where the machine's routes do not lead by it, as answers may
// come that took a way of their own: 1 refuses them, 2 only those from nowhere (ip-sysctl.rst of Linux).
func reversePath(name string) string { return "net/ipv4/conf/" + name + "/rp_filter" }

// strict says whether an interface does that. The higher of its own value and that of all counts.
func (k *Kernel) strict(name string) bool {
	own, _ := getSysctl(reversePath(name))
	all, _ := getSysctl(reversePath("all"))
	return max(own, all) == "1"
}

// interfaces are where w's networks are, named or found by the OS's routes.
func (k *Kernel) interfaces(w Wanted) []string {
	var names []string
	add := func(n string) {
		if n != "" && n != "lo" && n != k.device() && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	ranges := map[string][]netip.Prefix{}
	for _, r := range w.Routes {
		ranges[r.Association] = append(ranges[r.Association], r.Destination)
	}
	for _, a := range w.Associations {
		if a.Interface != "" {
			add(a.Interface)
			continue
		}
		for _, p := range append(slices.Clone(a.Networks), ranges[a.Subnet]...) {
			routes, err := netlink.RouteGet(net.IP(p.Addr().Next().AsSlice()))
			if err != nil {
				k.log.Warn("no route to a target network", "subnet", a.Subnet, "network", p, "err", err)
				continue
			}
			for _, r := range routes {
				if l, err := netlink.LinkByIndex(r.LinkIndex); err == nil {
					add(l.Attrs().Name)
				}
			}
		}
	}
	return names
}

func sysctlPath(name string) string { return filepath.Join("/proc/sys", name) }

func getSysctl(name string) (string, error) {
	b, err := os.ReadFile(sysctlPath(name))
	return strings.TrimSpace(string(b)), err
}

func setSysctl(name, value string) error {
	if err := os.WriteFile(sysctlPath(name), []byte(value), 0o644); err != nil {
		return fmt.Errorf("network: set %s to %s: %w", name, value, err)
	}
	return nil
}
