//go:build linux

package peers

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// AD is an Active Directory domain controller: Samba with LDAP alone, over TLS and with StartTLS.
//
// Its users, all with Password:
//
//	alice    in Engineering, which is in VPN-Users; and in VPN-Admins
//	bob      in VPN-Users
//	o'hara (it)  in VPN-Users: a name with what a filter must escape
//	carol    disabled
//	dave     not locked yet: Threshold wrong passwords do it
//	erin     the account has expired
//	frank    must change the password
//	grace    the password has expired
type AD struct {
	Addr   netip.Addr
	Host   string // the name in its certificate, beside Addr
	CA     []byte // PEM
	Realm  string
	Domain string // of DOMAIN\user
	BaseDN string
	SIDs   map[string]string // of users and groups, in text form, by account

	dir  string
	stop func()
}

// What all users of an AD share.
const (
	ADPassword  = "Passw0rd!User1"
	ADThreshold = 5 // wrong passwords that lock an account
)

const adAdmin = "Passw0rd!Admin"

// The ports of an AD.
const (
	ADPlainPort = 389 // StartTLS
	ADTLSPort   = 636
)

//go:embed ad.py
var populate string

// CacheVariable names the directory where NewAD keeps what it made, for the next test: making it costs
// some 15 seconds of one processor. Unset: "adit-tests" in the user's cache, which make clean removes.
const CacheVariable = "ADIT_PEERS_CACHE"

// NewAD makes the directory for an address. Start serves it.
func NewAD(dir string, addr netip.Addr) (*AD, error) {
	if err := need("samba samba-ad-provision samba-dsdb-modules samba-vfs-modules", "samba", "samba-tool", "cp", "/usr/bin/python3", "/usr/share/samba/setup/provision.ldif"); err != nil {
		return nil, err
	}
	a := &AD{
		Addr: addr, Host: "dc1.corp.example.test", Realm: "corp.example.test", Domain: "CORP",
		BaseDN: "DC=corp,DC=example,DC=test", dir: dir,
	}
	cache := os.Getenv(CacheVariable)
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, err
		}
		cache = filepath.Join(user, "adit-tests")
	}
	kept := filepath.Join(cache, "ad-"+version())
	if err := a.keep(kept); err != nil {
		return nil, err
	}
	if err := a.copyOf(kept); err != nil {
		return nil, err
	}
	if err := a.certificates(); err != nil {
		return nil, err
	}
	return a, a.configure()
}

// version changes with what a kept directory depends on: this file, and Samba.
func version() string {
	samba, _ := exec.Command(program("samba"), "--version").Output()
	sum := sha256.Sum256([]byte(populate + ADPassword + string(samba)))
	return hex.EncodeToString(sum[:6])
}

// keep makes the directory at dir, where it is not yet. Of several at once the first to finish wins.
func (a *AD) keep(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "sids.json")); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	making, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(making) // nothing, once it has its final name
	made := *a
	made.dir = making
	if err := made.provision(); err != nil {
		return err
	}
	// Its own name stands in its configuration, which must be right when others see it.
	if err := made.moved(making, dir); err != nil {
		return err
	}
	if err := os.Rename(making, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// moved replaces the name of the directory in its own configuration.
func (a *AD) moved(from, to string) error {
	text, err := os.ReadFile(a.path("etc", "smb.conf"))
	if err != nil {
		return err
	}
	return os.WriteFile(a.path("etc", "smb.conf"), []byte(strings.ReplaceAll(string(text), from, to)), 0o600)
}

func (a *AD) copyOf(kept string) error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-a", kept+"/.", a.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cp: %w: %s", err, out)
	}
	if err := a.moved(kept, a.dir); err != nil {
		return err
	}
	text, err := os.ReadFile(a.path("sids.json"))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, &a.SIDs)
}

// provision makes domain and users, without an address.
func (a *AD) provision() error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	// No configuration of the machine's; no DNS; no waiting for disks.
	cmd := exec.Command(program("samba-tool"), "domain", "provision", "--configfile=/dev/null", "--targetdir="+a.dir,
		"--realm="+strings.ToUpper(a.Realm), "--domain="+a.Domain, "--server-role=dc", "--dns-backend=NONE", "--adminpass="+adAdmin,
		"--host-name=dc1", "--host-ip=127.0.0.1")
	cmd.Env = append(os.Environ(), "TDB_NO_FSYNC=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("samba-tool domain provision: %w: %s", err, out)
	}
	cmd = exec.Command("/usr/bin/python3", "-c", populate, a.path("etc", "smb.conf"), a.path("private", "sam.ldb"), ADPassword, fmt.Sprint(ADThreshold))
	cmd.Env = append(os.Environ(), "TDB_NO_FSYNC=1")
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("users of the directory: %w: %s", err, said.String())
	}
	if err := json.Unmarshal(out, &a.SIDs); err != nil {
		return fmt.Errorf("users of the directory: %w: %s", err, out)
	}
	return os.WriteFile(a.path("sids.json"), out, 0o600)
}

func (a *AD) path(parts ...string) string { return filepath.Join(append([]string{a.dir}, parts...)...) }

func (a *AD) certificates() error {
	ca, err := newAuthority("CORP test CA")
	if err != nil {
		return err
	}
	a.CA = ca.pem()
	cert, key, err := ca.server(a.Host, a.Addr)
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"ca.pem": a.CA, "dc1.pem": cert, "dc1.key": key} {
		if err := os.WriteFile(a.path(name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// configure leaves only what a VPN endpoint asks: LDAP.
func (a *AD) configure() error {
	file := a.path("etc", "smb.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "server services") || strings.Contains(line, "interfaces") {
			continue
		}
		b.WriteString(line)
		if strings.TrimSpace(line) != "[global]" {
			continue
		}
		fmt.Fprintf(&b, "interfaces = %s/8\nbind interfaces only = yes\nserver services = ldap\ntls enabled = yes\n", a.Addr)
		fmt.Fprintf(&b, "tls keyfile = %s\ntls certfile = %s\ntls cafile = %s\n", a.path("dc1.key"), a.path("dc1.pem"), a.path("ca.pem"))
		fmt.Fprintf(&b, "pid directory = %s\nlog file = %s\n", a.dir, a.path("samba.log"))
		for _, d := range []string{"ncalrpc", "winbindd socket", "ntp signd socket"} {
			key := d + " directory"
			if d == "ncalrpc" {
				key = d + " dir"
			}
			fmt.Fprintf(&b, "%s = %s\n", key, a.path(strings.Fields(d)[0]))
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o600)
}

// Start serves the directory at p, where Addr must be an address.
func (a *AD) Start(p Place) error {
	stop, err := p.Run(program("samba"), "-F", "--no-process-group", "-M", "single", "-s", a.path("etc", "smb.conf"))
	if err != nil {
		return err
	}
	a.stop = stop
	for _, port := range []uint16{ADTLSPort, ADPlainPort} {
		if err := waitPort(p, netip.AddrPortFrom(a.Addr, port), time.Minute); err != nil {
			log, _ := os.ReadFile(a.path("samba.log"))
			a.Stop()
			return fmt.Errorf("samba does not listen: %w: %s", err, log)
		}
	}
	return nil
}

// Stop ends it. It may be started again.
func (a *AD) Stop() {
	if a.stop != nil {
		a.stop()
		a.stop = nil
	}
}

// TLS and StartTLS are the addresses for a client.
func (a *AD) TLS() string      { return fmt.Sprintf("ldaps://%s:%d", a.Addr, ADTLSPort) }
func (a *AD) StartTLS() string { return fmt.Sprintf("ldap://%s:%d", a.Addr, ADPlainPort) }
