//go:build linux

package peers

import (
	"crypto/hmac"
	"crypto/sha1"
	_ "embed"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// RADIUS is FreeRADIUS with a server for each way to behave. It takes only requests with a
// Message-Authenticator.
type RADIUS struct {
	// OneShot judges one-time codes (TOTP, PAP only) of alice, dave and o'hara (it); bob's code is always
	// RADIUSFixed, and may be asked for with CHAP and MS-CHAP, too. Alice and dave also have the codes 900000 to 900099.
	OneShot netip.AddrPort
	// Challenge answers RADIUSFirst with a question, and takes the user's one-time code as its answer.
	Challenge netip.AddrPort
	// Slow takes four seconds to accept anything; Mute never answers.
	Slow, Mute netip.AddrPort
	// Unsigned is as FreeRADIUS of Debian 12 comes: its answers have no Message-Authenticator.
	Unsigned netip.AddrPort

	dir  string
	stop func()
}

// What the servers of a RADIUS share.
const (
	RADIUSSecret   = "testing123"
	RADIUSFixed    = "123456"
	RADIUSFirst    = "next"
	RADIUSQuestion = "Enter the one-time code"
)

// The TOTP key of all users.
const totpKey = "Hello!\xde\xad\xbe\xef" // JBSWY3DPEHPK3PXP

//go:embed radiusd.conf
var radiusConf string

//go:embed radius-users
var radiusUsers string

// StartRADIUS starts the servers on five ports of addr.
func StartRADIUS(dir string, addr netip.Addr, p Place) (*RADIUS, error) {
	if err := need("freeradius", "freeradius"); err != nil {
		return nil, err
	}
	r := &RADIUS{dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for i, at := range []*netip.AddrPort{&r.OneShot, &r.Challenge, &r.Slow, &r.Mute, &r.Unsigned} {
		*at = netip.AddrPortFrom(addr, uint16(18120+i))
	}
	conf := strings.NewReplacer("@DIR@", dir, "@ADDR@", addr.String(), "@SECRET@", RADIUSSecret, "@FIRST@", RADIUSFirst, "@QUESTION@", RADIUSQuestion).Replace(radiusConf)
	users := strings.ReplaceAll(radiusUsers, "@FIXED@", RADIUSFixed)
	for name, text := range map[string]string{"radiusd.conf": conf, "users": users} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	argv := []string{program("freeradius"), "-d", dir, "-n", "radiusd"}
	if out, err := exec.Command(argv[0], append(argv[1:], "-C", "-l", "stdout")...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("freeradius: %w: %s", err, out)
	}
	stop, err := p.Run(append(argv, "-f")...)
	if err != nil {
		return nil, err
	}
	r.stop = stop
	for deadline := time.Now().Add(time.Minute); !strings.Contains(r.Log(), "Ready to process requests"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.Stop()
			return nil, fmt.Errorf("freeradius does not start: %s", r.Log())
		}
	}
	return r, nil
}

// Log is what it said so far.
func (r *RADIUS) Log() string {
	b, _ := os.ReadFile(filepath.Join(r.dir, "radius.log"))
	return string(b)
}

// Stop ends it.
func (r *RADIUS) Stop() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// Code is the one-time code of a moment.
func (r *RADIUS) Code(at time.Time) string { return totp(totpKey, at) }

// FreshCode is the one-time code of now, and of the next ten seconds at least: the server takes no other step's.
// It waits for the next code where less is left.
func (r *RADIUS) FreshCode() string {
	const step, least = 30 * time.Second, 10 * time.Second
	now := time.Now()
	if left := now.Truncate(step).Add(step).Sub(now); left < least {
		time.Sleep(left + 100*time.Millisecond)
	}
	return r.Code(time.Now())
}

// totp is RFC 6238 with 30 s, six digits and SHA-1.
func totp(key string, at time.Time) string {
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(at.Unix()/30)))
	sum := mac.Sum(nil)
	n := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&15:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1000000)
}
