package push

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// Options returns r as a server pushes it, the inverse of Parse (Notes apart,
// and Peer6 goes only beside Address6). Values that the grammar cannot carry
// (control characters, commas) are left out; Check names them.
func (r Reply) Options() []string {
	return slices.DeleteFunc(r.options(), func(option string) bool { return !clean(option) })
}

// Check returns an error that names an option of r that cannot be pushed.
func (r Reply) Check() error {
	for _, option := range r.options() {
		if !clean(option) {
			return &OptionError{optionName(option), "has a comma, a control character or invalid UTF-8"}
		}
	}
	return nil
}

func (r Reply) options() []string {
	var w writer
	if r.Redirect != nil {
		w.redirect(*r.Redirect)
	}
	w.flag("block-ipv6", r.BlockIPv6)
	w.flag("block-outside-dns", r.BlockDNS)
	w.flag("register-dns", r.RegisterDN)
	w.dns(r.DNS)
	for _, route := range r.Routes {
		w.route(route)
	}
	for _, nat := range r.ClientNAT {
		w.add("client-nat", nat.Kind, nat.Network.Addr().String(), FormatMask(nat.Network.Bits()), nat.Alias.String())
	}
	w.number("route-metric", r.RouteMetric)
	if r.RouteGateway.IsValid() {
		w.add("route-gateway", r.RouteGateway.String())
	}
	w.text("topology", r.Topology)
	w.seconds("ping", r.Ping)
	w.seconds("ping-restart", r.PingRestart)
	if r.PingNever && r.PingRestart == 0 {
		w.add("ping-restart", "0")
	}
	w.seconds("ping-exit", r.PingExit)
	w.inactive(r.Inactive, r.InactiveBytes)
	w.seconds("session-timeout", r.SessionTimeout)
	w.text("auth-token", r.AuthToken.Reveal())
	if r.TokenUser != "" {
		w.add("auth-token-user", base64.StdEncoding.EncodeToString([]byte(r.TokenUser)))
	}
	for _, text := range r.Echo {
		w = append(w, "echo "+text)
	}
	if r.EnforceRoutes {
		w = append(w, enforceRoutes)
	}
	if r.Address.IsValid() {
		second := FormatMask(r.Address.Bits())
		if r.Peer.IsValid() {
			second = r.Peer.String()
		}
		w.add("ifconfig", r.Address.Addr().String(), second)
	}
	if r.Address6.IsValid() {
		words := []string{"ifconfig-ipv6", r.Address6.String()}
		if r.Peer6.IsValid() {
			words = append(words, r.Peer6.String())
		}
		w.add(words...)
	}
	if r.PeerID >= 0 {
		w.add("peer-id", strconv.Itoa(r.PeerID))
	}
	w.text("cipher", r.Cipher)
	if r.TLSExport && !slices.Contains(r.Flags, "tls-ekm") {
		w.add("key-derivation", "tls-ekm")
	}
	if len(r.Flags) > 0 {
		w.add(append([]string{"protocol-flags"}, r.Flags...)...)
	}
	w.number("tun-mtu", r.TunMTU)
	w.number("explicit-exit-notify", r.ExitNotify)
	w.number("sndbuf", r.SndBuf)
	w.number("rcvbuf", r.RcvBuf)
	switch r.Compress {
	case "lzo-no":
		w.add("comp-lzo", "no")
	default:
		w.text("compress", r.Compress)
	}
	return append(w, r.Unknown...)
}

// writer collects options.
type writer []string

func (w *writer) add(words ...string) { *w = append(*w, string(AppendOption(nil, words...))) }

func (w *writer) flag(name string, set bool) {
	if set {
		w.add(name)
	}
}

func (w *writer) text(name, value string) {
	if value != "" {
		w.add(name, value)
	}
}

func (w *writer) number(name string, n int) {
	if n != 0 {
		w.add(name, strconv.Itoa(n))
	}
}

// seconds rounds up, so that a short timer does not become "off".
func (w *writer) seconds(name string, d time.Duration) {
	w.number(name, int((d+time.Second-1)/time.Second))
}

func (w *writer) inactive(d time.Duration, bytes int64) {
	if d > 0 && bytes > 0 {
		w.add("inactive", strconv.Itoa(int((d+time.Second-1)/time.Second)), strconv.FormatInt(bytes, 10))
		return
	}
	w.seconds("inactive", d)
}

func (w *writer) redirect(r Redirect) {
	words := []string{"redirect-gateway"}
	if r.Private {
		words[0] = "redirect-private"
	}
	for _, flag := range redirectFlags() {
		if *r.flag(flag) {
			words = append(words, flag)
		}
	}
	w.add(words...)
}

func (w *writer) route(r Route) {
	gateway := r.GatewayWord
	if r.Gateway.IsValid() {
		gateway = r.Gateway.String()
	}
	var words []string
	switch {
	case r.Word != "":
		words = []string{"route", r.Word, FormatMask(r.Bits)}
	case r.Destination.Addr().Is4():
		words = []string{"route", r.Destination.Addr().String(), FormatMask(r.Destination.Bits())}
	case r.Destination.IsValid():
		words = []string{"route-ipv6", r.Destination.String()}
	default:
		return
	}
	if gateway == "" && r.Metric != 0 {
		gateway = "default"
	}
	if gateway != "" {
		words = append(words, gateway)
	}
	if r.Metric != 0 {
		words = append(words, strconv.Itoa(r.Metric))
	}
	w.add(words...)
}

// dns writes dhcp-option, which every client knows, and beside it dns for what
// dhcp-option cannot say. A client that knows both lets dns win.
func (w *writer) dns(d DNS) {
	rich := d.DNSSEC != "" || d.Transport != "" || d.SNI != "" || len(d.Split) > 0
	for _, server := range d.Servers {
		if server.Port() != dnsPort {
			rich = true
			continue
		}
		kind := "DNS"
		if server.Addr().Is6() {
			kind = "DNS6"
		}
		w.add("dhcp-option", kind, server.Addr().String())
	}
	for i, name := range d.Search {
		kind := "DOMAIN-SEARCH"
		if i == 0 {
			kind = "DOMAIN"
		}
		w.add("dhcp-option", kind, name)
	}
	if !rich {
		return
	}
	if len(d.Servers) == 0 {
		for _, name := range d.Split {
			w.add("dhcp-option", "DOMAIN-ROUTE", name)
		}
		return
	}
	words := []string{"dns", "server", "0", "address"}
	for _, server := range d.Servers {
		words = append(words, formatServer(server))
	}
	w.add(words...)
	for names := range slices.Chunk(d.Split, maxServers) {
		w.add(append([]string{"dns", "server", "0", "resolve-domains"}, names...)...)
	}
	for _, property := range [][2]string{{"dnssec", d.DNSSEC}, {"transport", d.Transport}, {"sni", d.SNI}} {
		if property[1] != "" {
			w.add("dns", "server", "0", property[0], property[1])
		}
	}
}

func formatServer(server netip.AddrPort) string {
	if server.Port() == dnsPort {
		return server.Addr().String()
	}
	return fmt.Sprint(server)
}
