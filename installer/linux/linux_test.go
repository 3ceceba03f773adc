package linux

import (
	"strings"
	"testing"
)

func TestUnit(t *testing.T) {
	packaged, err := Unit(Program)
	if err != nil || packaged != unit {
		t.Errorf("the unit of packages is another one: %v", err)
	}
	own, err := Unit("/opt/adit-1.2/aditd")
	if err != nil || !strings.Contains(own, "\nExecStart=/opt/adit-1.2/aditd\n") || strings.Contains(own, Program) {
		t.Errorf("%v\n%s", err, own)
	}
	for _, bad := range []string{"", "aditd", "/opt/a b/aditd", "/opt/%i/aditd", "/opt/$X/aditd", "/opt/../aditd", "/opt/a\nExecStartPre=/bin/sh", "/opt/\"x\"", "/opt/", `/opt/\x20`} {
		if text, err := Unit(bad); err == nil {
			t.Errorf("%q: %s", bad, text)
		}
	}
}
