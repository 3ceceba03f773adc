package api_test

import (
	"strings"
	"testing"

	"github.com/adit-vpn/adit/client/api"
)

func TestNames(t *testing.T) {
	for _, name := range []string{"work", "Work 2", "büro.de", "会社", "a-b_c@d+(e)"} {
		if err := api.CheckName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "../x", "a/b", `a\b`, "-x", " x", "x ", "x.", "a\x00b", "a\nb", "a:b", "\xff", strings.Repeat("x", 65)} {
		if err := api.CheckName(name); !api.IsCode(err, api.CodeProfileNameInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}
