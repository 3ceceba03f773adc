// Package darwin is what Adit leaves on a Mac beside its programs: the launchd daemon, the scripts of its packages and the
// uninstaller. It is data for adit service and for installer/darwin/build; it starts no goroutine and touches no file.
package darwin

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
)

// Names and places. Programs are below /Library, since only root can write there: /usr/local, where people look for
// them, is the user's own on Macs with Homebrew, and a user who can replace aditd is root at its next start.
const (
	Label    = "com.adit.aditd"                              // of the daemon, for launchctl: system/com.adit.aditd
	Daemon   = "/Library/LaunchDaemons/com.adit.aditd.plist" // LaunchDaemon's text; root:wheel 0644, or launchd refuses it
	Programs = "/Library/Adit"                               // adit, aditd and the others
	Shared   = Programs + "/share"                           // manual pages and completions, in the directories of /usr/local/share
	Links    = "/usr/local/bin"                              // to the programs that people type; those to Shared are in /usr/local/share
	Log      = "/var/log/aditd.log"                          // what the daemon says; it rotates the file itself
	Restart  = "/var/run/adit/restart"                       // is there while a package stops the daemon to start it again
)

// Of the log: how long a file of it gets in bytes, how many full ones are kept beside it, and the group that may read them.
const (
	LogBytes = 4 << 20
	OldLogs  = 3
	Admin    = 80 // of administrators (admin in opendirectoryd's local node)
)

// Logs are all files of the log that there may be.
func Logs() []string {
	all := []string{Log}
	for i := range OldLogs {
		all = append(all, fmt.Sprintf("%s.%d", Log, i))
	}
	return all
}

//go:embed com.adit.aditd.plist
var daemon string

// LaunchDaemon is the property list of the daemon (launchd.plist(5)) for an aditd at an absolute path. What must be
// true of the path, that no user can write there, is the caller's to check.
func LaunchDaemon(aditd string) []byte {
	var path strings.Builder
	_ = xml.EscapeText(&path, []byte(aditd)) // a Builder takes everything
	return []byte(strings.Replace(daemon, Programs+"/aditd", path.String(), 1))
}

var (
	//go:embed scripts/postinstall
	postinstall []byte
	//go:embed scripts/postinstall-endpoint
	postinstallEndpoint []byte
	//go:embed scripts/link
	link []byte
	//go:embed scripts/uninstall
	uninstall []byte
)

// Scripts are what the Installer runs for the package of the client, by name: postinstall, and what it calls. The caller
// must not write into them.
func Scripts() map[string][]byte { return map[string][]byte{"postinstall": postinstall, "link": link} }

// EndpointScripts are those of the package of the endpoint.
func EndpointScripts() map[string][]byte {
	return map[string][]byte{"postinstall": postinstallEndpoint, "link": link}
}

// Uninstaller is the script that removes all that the packages have installed.
func Uninstaller() []byte { return uninstall }
