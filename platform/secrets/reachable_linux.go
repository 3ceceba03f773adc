package secrets

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// reachable says whether there is a session bus. Without one godbus would start its own
// (dbus-launch), which outlives us and knows no keychain.
func reachable() error {
	if os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return nil
	}
	if _, err := os.Stat(filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus")); err != nil {
		return fmt.Errorf("%w (no session bus)", ErrUnavailable)
	}
	return nil
}
