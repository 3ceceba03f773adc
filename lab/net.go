//go:build linux

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Net is a set of nodes and the wires between them. Not safe for concurrent
// building; the nodes are.
type Net struct {
	dir   string
	nodes []*Node
	wires int
}

// NewNet makes an empty network with its scratch files below dir.
func NewNet(dir string) (*Net, error) {
	if os.Geteuid() != 0 {
		return nil, ErrRoot
	}
	return &Net{dir: dir}, nil
}

// Node adds a host.
func (l *Net) Node(name string) (*Node, error) {
	dir := filepath.Join(l.dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	n, err := newNode(name, dir)
	if err != nil {
		return nil, err
	}
	l.nodes = append(l.nodes, n)
	return n, nil
}

// Close ends everything that runs in the network, and the network.
func (l *Net) Close() {
	for _, n := range l.nodes {
		n.close()
	}
	l.nodes = nil
}

// Wire joins two nodes by a veth pair named deviceA and deviceB with the given
// addresses (may be empty), both ends up.
func (l *Net) Wire(a *Node, deviceA string, addrA []string, b *Node, deviceB string, addrB []string) error {
	fd := -1
	if err := b.Do(func() (err error) {
		fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return err
	}); err != nil {
		return err
	}
	defer unix.Close(fd)
	err := a.Do(func() error {
		veth := &netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: deviceA, TxQLen: 1000}, PeerName: deviceB, PeerNamespace: netlink.NsFd(fd),
		}
		if err := netlink.LinkAdd(veth); err != nil {
			return fmt.Errorf("wire %s-%s: %w", a.Name, b.Name, err)
		}
		return configure(deviceA, addrA)
	})
	if err != nil {
		return err
	}
	l.wires++
	return b.Do(func() error { return configure(deviceB, addrB) })
}

// configure gives a device its addresses, without duplicate address detection,
// and brings it up.
func configure(device string, addrs []string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	for _, s := range addrs {
		addr, err := netlink.ParseAddr(s)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("address %s on %s: %w", s, device, err)
		}
	}
	return netlink.LinkSetUp(link)
}

// Route adds a route; dst "" is the default route of the gateway's family.
func (n *Node) Route(dst, gateway string) error {
	return n.Do(func() error {
		r := &netlink.Route{Gw: net.ParseIP(gateway)}
		if dst != "" {
			_, d, err := net.ParseCIDR(dst)
			if err != nil {
				return err
			}
			r.Dst = d
		}
		if err := netlink.RouteAdd(r); err != nil {
			return fmt.Errorf("route %q via %s: %w", dst, gateway, err)
		}
		return nil
	})
}

// Forward lets the node route between its wires, both families.
func (n *Node) Forward() error {
	return n.Do(func() error {
		for _, f := range []string{"/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv6/conf/all/forwarding"} {
			if err := os.WriteFile(f, []byte("1"), 0); err != nil {
				return err
			}
		}
		return nil
	})
}

// Link changes one device's state: Net.Cut and its opposite.
func (n *Node) Link(device string, up bool) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		if up {
			return netlink.LinkSetUp(link)
		}
		return netlink.LinkSetDown(link)
	})
}

// NoTrains lets the system cut trains of packets (GSO) before they leave by a device,
// so that a capture shows each.
func (n *Node) NoTrains(device string) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.LinkSetGSOMaxSegs(link, 1)
	})
}

// MTU sets the largest packet in bytes that one of the node's devices sends. Give both ends of a wire the same.
func (n *Node) MTU(device string, bytes int) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(link, bytes)
	})
}

// Rate slows down what a device sends, to bits per second.
func (n *Node) Rate(device string, bits uint64) error {
	return n.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		const burst, queue = 8 << 10, 32 << 10 // bytes
		return netlink.QdiscAdd(&netlink.Tbf{
			QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			Rate:       bits / 8, Limit: queue, Buffer: uint32(netlink.Xmittime(bits/8, burst)),
		})
	})
}

// Mute keeps the node from telling senders that their packets are too big for the next wire, as many
// firewalls do: it drops such packets silently.
func (n *Node) Mute() error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Name: "lab_mute", Family: nftables.TableFamilyINet})
		chain := c.AddChain(&nftables.Chain{
			Name: "out", Table: table, Type: nftables.ChainTypeFilter,
			Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityFilter,
		})
		for _, of := range []struct {
			proto byte
			kind  []byte // type, and the code where the type says too little
		}{{unix.IPPROTO_ICMP, []byte{3, 4}}, {unix.IPPROTO_ICMPV6, []byte{2}}} {
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{of.proto}},
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Len: uint32(len(of.kind))},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: of.kind},
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
		return c.Flush()
	})
}

// Loss drops one in n of the packets that arrive at the node over UDP, at
// random; 0 ends it.
func (n *Node) Loss(one uint32) error {
	return n.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := &nftables.Table{Name: "lab_loss", Family: nftables.TableFamilyINet}
		c.AddTable(table)
		c.DelTable(table)
		if one > 0 {
			c.AddTable(table)
			chain := c.AddChain(&nftables.Chain{
				Name: "in", Table: table, Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
			})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
				&expr.Numgen{Register: 1, Modulus: one, Type: unix.NFT_NG_RANDOM},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0, 0, 0, 0}},
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
		return c.Flush()
	})
}

// Routes lists every route of the node's main and local tables, and its rules,
// one a line and sorted by the kernel: for exact comparison.
func (n *Node) Routes() (lines []string, err error) {
	err = n.Do(func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		names := map[int]string{}
		for _, l := range links {
			names[l.Attrs().Index] = l.Attrs().Name
		}
		for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
			routes, err := netlink.RouteListFiltered(family, &netlink.Route{}, netlink.RT_FILTER_TABLE)
			if err != nil {
				return err
			}
			for _, table := range []int{unix.RT_TABLE_MAIN, unix.RT_TABLE_LOCAL} {
				routes, err = netlink.RouteListFiltered(family, &netlink.Route{Table: table}, netlink.RT_FILTER_TABLE)
				if err != nil {
					return err
				}
				for _, r := range routes {
					lines = append(lines, fmt.Sprintf("table %d %v via %v dev %s src %v metric %d type %d proto %d",
						r.Table, destination(r), r.Gw, names[r.LinkIndex], r.Src, r.Priority, r.Type, r.Protocol))
				}
			}
			rules, err := netlink.RuleList(family)
			if err != nil {
				return err
			}
			for _, r := range rules {
				lines = append(lines, "rule "+r.String())
			}
		}
		return nil
	})
	return lines, err
}

func destination(r netlink.Route) string {
	if r.Dst == nil {
		return "default"
	}
	if p, err := netip.ParsePrefix(r.Dst.String()); err == nil && p.Bits() == 0 {
		return "default"
	}
	return r.Dst.String()
}
