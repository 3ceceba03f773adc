// Command adit-pkcs11 speaks to a token for adit connect --userspace --pkcs11: it loads the vendor's
// PKCS#11 module into a process of its own, as the person who connects, and takes requests on its
// standard input. It is not for people to run.
package main

import (
	// The hashes whose digests are signed.
	_ "crypto/sha1" //nolint:gosec // TLS 1.2 servers may still want it
	_ "crypto/sha256"
	_ "crypto/sha512"
	"fmt"
	"os"

	"github.com/adit-vpn/adit/platform/token"
)

func main() {
	if err := token.Serve(os.Stdin, os.Stdout, load); err != nil {
		fmt.Fprintln(os.Stderr, "adit-pkcs11:", err)
		os.Exit(1)
	}
}
