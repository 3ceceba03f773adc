package userspace

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/routes"
	"github.com/miekg/dns"
)

const (
	askTimeout = 2 * time.Second // for one server and one question
	askRounds  = 2               // over all servers
	udpPayload = 1232            // the EDNS size that fits any path, dnsflagday.net/2020
)

// ErrNoSuchHost is wrapped when the tunnel's servers know no address for a name.
var ErrNoSuchHost = errors.New("no such host")

// LookupHost returns the addresses of a name, IPv4 first, as the tunnel's DNS
// servers say it, and an address as it is. It never asks the operating system.
// Of the families, only those that the tunnel has an address in are asked for.
// A name without a dot is tried with the pushed search domains first.
func (h *Host) LookupHost(ctx context.Context, name string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(name); err == nil {
		return []netip.Addr{addr.Unmap().WithZone("")}, nil
	}
	_, plan, err := h.current()
	if err != nil {
		return nil, err
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" || len(name) > 253 {
		return nil, fmt.Errorf("look up %q: not a host name", name)
	}
	if len(plan.DNS.Servers) == 0 {
		return nil, fmt.Errorf("look up %s: the tunnel has no DNS server; use an address", name)
	}
	var types []uint16
	if slices.ContainsFunc(plan.Addresses, func(p netip.Prefix) bool { return p.Addr().Is4() }) {
		types = append(types, dns.TypeA)
	}
	if slices.ContainsFunc(plan.Addresses, func(p netip.Prefix) bool { return p.Addr().Is6() }) {
		types = append(types, dns.TypeAAAA)
	}
	var names []string
	if !strings.Contains(name, ".") {
		for _, domain := range plan.DNS.Search {
			names = append(names, dns.Fqdn(name+"."+strings.Trim(domain, ".")))
		}
	}
	names = append(names, dns.Fqdn(name))
	for _, full := range names {
		addrs, err := h.lookup(ctx, plan.DNS, full, types)
		if err == nil || !errors.Is(err, ErrNoSuchHost) {
			return addrs, err
		}
	}
	return nil, fmt.Errorf("look up %s: %w", name, ErrNoSuchHost)
}

// lookup asks for all types of one full name at once.
func (h *Host) lookup(ctx context.Context, config routes.DNS, name string, types []uint16) ([]netip.Addr, error) {
	type result struct {
		addrs []netip.Addr
		err   error
	}
	results := make([]chan result, len(types))
	for i, t := range types {
		results[i] = make(chan result, 1)
		go func() {
			addrs, err := h.ask(ctx, config, name, t)
			results[i] <- result{addrs, err}
		}()
	}
	var addrs []netip.Addr
	var failed error
	for _, c := range results { // waits for every goroutine
		r := <-c
		addrs = append(addrs, r.addrs...)
		if r.err != nil {
			failed = r.err
		}
	}
	switch {
	case len(addrs) > 0:
		return addrs, nil
	case failed != nil:
		return nil, failed
	}
	return nil, fmt.Errorf("look up %s: %w", strings.TrimSuffix(name, "."), ErrNoSuchHost)
}

// ask puts one question to the servers in turn until one answers. No addresses
// and no error mean that there are none.
func (h *Host) ask(ctx context.Context, config routes.DNS, name string, kind uint16) ([]netip.Addr, error) {
	question := new(dns.Msg)
	question.SetQuestion(name, kind)
	question.SetEdns0(udpPayload, false)
	var failed error
	for range askRounds {
		for _, server := range config.Servers {
			answer, err := h.exchange(ctx, config, server, question)
			switch {
			case err != nil:
				failed = fmt.Errorf("look up %s at %s: %w", name, server, err)
			case answer.Rcode == dns.RcodeSuccess, answer.Rcode == dns.RcodeNameError:
				return addresses(answer), nil
			default:
				failed = fmt.Errorf("look up %s at %s: server answers %s", name, server, dns.RcodeToString[answer.Rcode])
			}
			if ctx.Err() != nil {
				return nil, failed
			}
		}
	}
	return nil, failed
}

// exchange asks one server by UDP, and by TCP when the answer is cut off; or by
// TLS where the plan wants it.
func (h *Host) exchange(ctx context.Context, config routes.DNS, server netip.AddrPort, question *dns.Msg) (*dns.Msg, error) {
	switch config.Transport {
	case "", "plain":
		answer, err := h.exchangeOver(ctx, "udp", config, server, question)
		if err == nil && answer.Truncated {
			answer, err = h.exchangeOver(ctx, "tcp", config, server, question)
		}
		return answer, err
	case "DoT":
		return h.exchangeOver(ctx, "tls", config, server, question)
	}
	return nil, fmt.Errorf("DNS transport %q is not supported in userspace mode", config.Transport)
}

func (h *Host) exchangeOver(ctx context.Context, network string, config routes.DNS, server netip.AddrPort, question *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	port := server.Port()
	if port == 0 {
		port = 53
		if network == "tls" {
			port = 853
		}
	}
	transport := network
	if network == "tls" {
		transport = "tcp"
	}
	conn, err := h.dialAddr(ctx, transport, netip.AddrPortFrom(server.Addr().Unmap(), port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	var stream net.Conn = conn
	if network == "tls" {
		name := config.SNI
		if name == "" {
			name = server.Addr().String()
		}
		stream = tls.Client(conn, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12})
	}
	exchange := &dns.Conn{Conn: stream, UDPSize: udpPayload}
	client := &dns.Client{Net: transport, Timeout: askTimeout, UDPSize: udpPayload}
	answer, _, err := client.ExchangeWithConnContext(ctx, question, exchange)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case !answer.Response || len(answer.Question) != 1 || !strings.EqualFold(answer.Question[0].Name, question.Question[0].Name) ||
		answer.Question[0].Qtype != question.Question[0].Qtype:
		return nil, errors.New("the answer is to another question")
	}
	return answer, nil
}

// addresses are those in an answer, whatever aliases led to them.
func addresses(answer *dns.Msg) []netip.Addr {
	var addrs []netip.Addr
	for _, record := range answer.Answer {
		var ip net.IP
		switch r := record.(type) {
		case *dns.A:
			ip = r.A
		case *dns.AAAA:
			ip = r.AAAA
		}
		if addr, ok := netip.AddrFromSlice(ip); ok {
			addrs = append(addrs, addr.Unmap())
		}
	}
	return addrs
}
