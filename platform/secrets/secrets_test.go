package secrets

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/zalando/go-keyring"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		from error
		want error
		text string
	}{
		{keyring.ErrNotFound, ErrNotFound, "no saved password"},
		{keyring.ErrSetDataTooBig, ErrTooLong, "the password is too long for the keychain"},
		{keyring.ErrUnsupportedPlatform, ErrUnavailable, ""},
		{errors.New("The name org.freedesktop.secrets was not provided by any .service files"), ErrUnavailable, ""},
		{errors.New("dial unix /nowhere: connect: no such file or directory"), ErrUnavailable, ""},
		{errors.New("failed to unlock correct collection '/org/freedesktop/secrets/aliases/default'"), ErrLocked, "the keychain is locked"},
		{errors.New("exit status 36"), ErrLocked, "the keychain is locked"},
		{errors.New("first\nsecond"), nil, "first"},
	} {
		got := worded(c.from)
		if c.want != nil && !errors.Is(got, c.want) || c.text != "" && got.Error() != c.text {
			t.Errorf("%v reads %v", c.from, got)
		}
	}
}

// TestNames: no profile reaches another's passwords, whatever it is called.
func TestNames(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"a", "a:b", "a/b", "a b", "a+b", "a%3Ab", "user", "", "ä"} {
		for _, key := range []string{passwordsOf(name), userOf(name)} {
			if other, ok := seen[key]; ok {
				t.Errorf("%q and %q are both %q", name, other, key)
			}
			seen[key] = name
			for _, r := range key {
				if r == ':' || r <= ' ' || r > '~' {
					t.Errorf("%q becomes %q", name, key)
				}
			}
		}
	}
}

// TestPanicIsAnError: a keychain that answers nonsense does not end the program.
func TestPanicIsAnError(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	_, err := ask(context.Background(), Keychain{}, "read it", func() (int, error) { panic("interface conversion") })
	if err == nil || fmt.Sprint(err) != "cannot read it: the keychain's answer cannot be read: interface conversion" {
		t.Errorf("got %v", err)
	}
}
