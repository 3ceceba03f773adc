package main

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/adit-vpn/adit/platform/durable"
)

// firstUser is the one in a file of test users that up makes.
const firstUser = "tester"

// makeUsers writes a file of test users when there is none, with one user, and returns the password; "" when
// the file is there.
func makeUsers(file string) (password string, err error) {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	random := make([]byte, 30)
	rand.Read(random)
	text := base32.StdEncoding.EncodeToString(random)
	password = strings.ToLower(text[:12])
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if err != nil {
		return "", err
	}
	return password, durable.Write(file, fmt.Appendf(nil, `# Test users of adit-endpoint, for loopback only. After a change: adit-endpoint reload
# A password is a bcrypt hash, for instance of: htpasswd -nB NAME
users:
  - name: %s
    password: %q # %s
    groups: [testers]
    # totp: %s   # base32, for an authenticator app; export the profile again
`, firstUser, hash, password, text[12:44]), 0o600)
}
