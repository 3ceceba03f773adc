package ipc

import (
	"strings"
	"testing"
)

func TestAccount(t *testing.T) {
	for account, want := range map[Account]bool{
		"0": true, "1000": true, "4294967295": true, "S-1-5-18": true, "S-1-5-21-3623811015-3361044348-30300820-1013": true, "S-1-16-281474976710655": true,
		"": false, "managed": false, "01": false, "+1": false, "-1": false, "4294967296": false, "1000.": false, "s-1-5-18": false, "S-1-": false, "S-1-5-": false,
		"S-1-5-018": false, "S-1-5-..": false, `S-1-5\x`: false, "S-2-5-18": false, "S-1-5-21-99999999999999999999": false,
		Account("S-1-5" + strings.Repeat("-1", 100)): false,
	} {
		if got := account.Valid(); got != want {
			t.Errorf("%q: %v, want %v", account, got, want)
		}
	}
}
