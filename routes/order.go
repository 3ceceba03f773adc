package routes

import "slices"

// Asker is a tunnel with DNS, as far as the order of several counts.
type Asker struct {
	Full bool // all traffic goes through it
	DNS  DNS
}

// all says that the tunnel's servers are for names of every domain.
func (a Asker) all() bool { return len(a.DNS.Servers) > 0 && len(a.DNS.Split) == 0 }

// Before is the index of the tunnel whose servers are asked in place of tunnels[i]'s, or -1: its own are. The newest
// tunnel is first in the list. Links says that the manager of names knows servers for each link, as systemd-resolved
// does; others have room for those of one tunnel.
func Before(tunnels []Asker, i int, links bool) int {
	if len(tunnels[i].DNS.Servers) == 0 {
		return -1
	}
	first := -1
	if links {
		if tunnels[i].all() {
			first = slices.IndexFunc(tunnels, func(a Asker) bool { return a.Full && a.all() })
		}
	} else {
		first = slices.IndexFunc(tunnels, func(a Asker) bool { return a.Full && len(a.DNS.Servers) > 0 })
		if first < 0 {
			first = slices.IndexFunc(tunnels, func(a Asker) bool { return len(a.DNS.Servers) > 0 })
		}
	}
	if first == i {
		return -1
	}
	return first
}
