package endpoint

import (
	"fmt"
	"strconv"
	"strings"
)

// compare warns when a client's own view of the options differs from the endpoint's in
// a way that negotiation does not mend: packets would not pass, or only small ones.
func (p *peer) compare(options string) {
	for _, text := range occWarnings(&p.gen.Load().cfg, options) {
		p.server.log.Warn("options differ", "connection", p.name, "from", p.from().String(), "warning", text)
	}
}

// occWarnings reads the options string of key-method 2 (OCC; openvpn's options.c,
// options_string). Ciphers are not looked at: they are negotiated, or refused.
func occWarnings(cfg *Config, options string) []string {
	theirs := map[string]string{}
	for o := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(o, " ")
		theirs[name] = value
	}
	if !strings.HasPrefix(options, "V4,") {
		return nil // some clients say nothing
	}
	var out []string
	if kind := theirs["dev-type"]; kind != "" && kind != "tun" {
		out = append(out, fmt.Sprintf("dev-type is %q there, tun here", kind))
	}
	if mtu, err := strconv.Atoi(theirs["tun-mtu"]); err == nil && mtu != cfg.TunMTU {
		out = append(out, fmt.Sprintf("tun-mtu is %d there, %d here", mtu, cfg.TunMTU))
	}
	differ := func(name, key string, here bool) {
		if _, there := theirs[name]; there != here {
			out = append(out, fmt.Sprintf("%s is %s there, %s here", key, onOff(there), onOff(here)))
		}
	}
	if cfg.Legacy.Compress != "migrate" {
		differ("comp-lzo", "compression framing", cfg.Legacy.Compress != "")
	}
	differ("mtu-dynamic", "fragment", cfg.Legacy.Fragment > 0)
	return out
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
