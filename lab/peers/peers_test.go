//go:build linux

package peers

import (
	"testing"
	"time"
)

// The examples of RFC 6238, appendix B, cut to six digits.
func TestTOTP(t *testing.T) {
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"} {
		if got := totp("12345678901234567890", time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	a, err := Loopback(18120)
	if err != nil || !a.IsLoopback() {
		t.Errorf("%v %v", a, err)
	}
}
