package platform

import "log/slog"

// HostConfig is what a Host needs. Only JournalDir and Name are required.
type HostConfig struct {
	// JournalDir holds one file per Host that says what must be undone. Made with mode 0700.
	JournalDir string
	// Name is the journal's key, for example the connection's id: letters, digits, "-", "_" and ".".
	Name string
	Log  *slog.Logger // nil: silent
	// Etc is the directory of resolv.conf; empty: /etc.
	Etc string
	// Bus is the D-Bus address of systemd-resolved and NetworkManager; empty: the system bus.
	Bus string
	// Resolvconf is the absolute path of resolvconf; empty: /sbin, /usr/sbin or /usr/bin, where it is.
	Resolvconf string
}
