package profile

import (
	"strings"
	"testing"
	"time"
)

// A PKCS#12 file that nobody opened yet is not a profile without a CA.
func TestLockedPKCS12IsNotAMissingCA(t *testing.T) {
	p := &Profile{PKCS12: "bytes"}
	_, err := p.verifier(time.Now)
	if err == nil || !strings.Contains(err.Error(), "needs its passphrase") {
		t.Errorf("verifier: %v", err)
	}
	_, err = (&Profile{}).verifier(time.Now)
	if err == nil || !strings.Contains(err.Error(), "names no CA") {
		t.Errorf("verifier without anything: %v", err)
	}
}
