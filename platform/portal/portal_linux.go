package portal

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/adit-vpn/adit/platform/bus"
)

// NetworkManager on the bus (its D-Bus reference, NMConnectivityState).
const (
	nmName = "org.freedesktop.NetworkManager"
	nmPath = dbus.ObjectPath("/org/freedesktop/NetworkManager")

	nmConnectivityPortal = 2
	nmConnectivityFull   = 4
)

const (
	maxConnections = 16
	networkdLinks  = "/run/systemd/netif/links"
	maxLinkFile    = 64 << 10
)

// nmOption is NetworkManager's name of DHCP's option 114, where it keeps that: version 1.42 does not with its own client.
const nmOption = "v4_captive_portal"

// Look asks NetworkManager, by what it found out last, and reads the portal's address (DHCP option 114) from it or from
// networkd. Without either it knows nothing. It takes no longer than ctx.
func Look(ctx context.Context, cfg Config) State {
	found, address := askNM(ctx, cfg.Bus)
	return judge(found, cmp.Or(address, readLinks(cmp.Or(cfg.Links, networkdLinks))))
}

func askNM(ctx context.Context, address string) (connectivity, string) {
	conn, err := bus.Dial(ctx, address)
	if err != nil {
		return unsure, ""
	}
	defer conn.Close()
	get := func(path dbus.ObjectPath, iface, name string) any {
		var v dbus.Variant
		// It is not started for this, where it is installed and not used.
		call := conn.Object(nmName, path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, nmName+iface, name)
		if call.Store(&v) != nil {
			return nil
		}
		return v.Value()
	}
	found := unsure
	switch get(nmPath, "", "Connectivity") {
	case uint32(nmConnectivityPortal):
		found = captive
	case uint32(nmConnectivityFull):
		// Where nothing is checked, every network is said to lead everywhere.
		if get(nmPath, "", "ConnectivityCheckEnabled") == true {
			return free, ""
		}
	case nil:
		return unsure, ""
	}
	active, _ := get(nmPath, "", "ActiveConnections").([]dbus.ObjectPath)
	for _, c := range active[:min(len(active), maxConnections)] {
		lease, _ := get(c, ".Connection.Active", "Dhcp4Config").(dbus.ObjectPath)
		if lease == "" || lease == "/" {
			continue
		}
		options, _ := get(lease, ".DHCP4Config", "Options").(map[string]dbus.Variant)
		if text, ok := options[nmOption].Value().(string); ok {
			if address := cleanURL(text); address != "" {
				return found, address
			}
		}
	}
	return found, ""
}

// readLinks looks for an address in networkd's notes about links (sd-network's CAPTIVE_PORTAL, from version 254 on).
func readLinks(dir string) string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return ""
	}
	for _, e := range entries[:min(len(entries), maxConnections)] {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue
		}
		text, err := io.ReadAll(io.LimitReader(f, maxLinkFile))
		f.Close()
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if v, ok := strings.CutPrefix(strings.TrimSpace(line), "CAPTIVE_PORTAL="); ok {
				if address := cleanURL(strings.Trim(v, `"`)); address != "" {
					return address
				}
			}
		}
	}
	return ""
}
