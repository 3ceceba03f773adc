package endpoint

import (
	"fmt"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint/auth"
	"github.com/adit-vpn/adit/endpoint/auth/radius"
	"github.com/adit-vpn/adit/ovpn/push"
)

// activeDirectory makes the method of an Active Directory, with RADIUS servers where d names
// some. memory outlives it.
func (c *Config) activeDirectory(d Directory, memory *auth.Memory, readFile func(string) ([]byte, error), now func() time.Time) (*auth.Directory, error) {
	cfg := auth.DirectoryConfig{Servers: d.URLs, StartTLS: d.StartTLS, BaseDN: d.BaseDN, Realm: d.Realm, Memory: memory, Now: now}
	if d.CA != "" {
		var err error
		if cfg.CA, err = readFile(c.Path(d.CA)); err != nil {
			return nil, fmt.Errorf("directory: CA: %w", err)
		}
	}
	if r := d.Radius; r != nil {
		secret, err := readFile(c.Path(r.SecretFile))
		if err != nil {
			return nil, fmt.Errorf("directory: RADIUS secret: %w", err)
		}
		cfg.Radius = &radius.Config{
			Servers: r.Servers, Secret: push.Secret(strings.TrimRight(string(secret), "\r\n")), Protocol: radius.Protocol(r.Protocol),
			Timeout: r.Timeout, Retries: r.Retries, Unsigned: !r.RequireMessageAuthenticator,
		}
	}
	return auth.NewDirectory(cfg)
}
