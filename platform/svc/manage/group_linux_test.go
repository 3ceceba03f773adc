package manage

import (
	"context"
	"errors"
	"os/user"
	"strings"
	"testing"
)

// TestGroupOfDirectory: a group that only a directory has cannot be made, and does not count until /etc/group has its number; who
// installs the service is told the line.
func TestGroupOfDirectory(t *testing.T) {
	unknown := func(name string) (*user.Group, error) { return nil, user.UnknownGroupError(name) }
	var ran []string
	answer := func(line string, err error) func(context.Context, string, ...string) (string, error) {
		return func(_ context.Context, program string, args ...string) (string, error) {
			ran = append(ran, program)
			if strings.HasSuffix(program, "getent") {
				return line, err
			}
			return "", nil
		}
	}
	err := makeGroup(t.Context(), unknown, answer("adit:*:1836400500:ann,bob", nil))
	if err == nil || !strings.HasSuffix(err.Error(), " adit:x:1836400500:") || len(ran) != 1 {
		t.Errorf("%v, after %v", err, ran)
	}
	ran = nil
	if err := makeGroup(t.Context(), unknown, answer("", errors.New("exit status 2"))); err != nil || len(ran) != 2 || !strings.HasSuffix(ran[1], "groupadd") {
		t.Errorf("where there is none: %v, after %v", err, ran)
	}
	ran = nil
	if err := makeGroup(t.Context(), func(string) (*user.Group, error) { return &user.Group{}, nil }, answer("", nil)); err != nil || len(ran) > 0 {
		t.Errorf("where there is one: %v, after %v", err, ran)
	}
}
