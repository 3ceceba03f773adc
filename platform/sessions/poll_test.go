package sessions

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ann, bob := User{"1001", true}, User{"1002", true}
		looks := [][]User{{bob, ann, bob}, {ann, bob}, nil, {ann}, {}} // nil: it fails
		n := 0
		var got [][]User
		done := make(chan error)
		go func() {
			done <- poll(ctx, func() ([]User, error) {
				users := looks[min(n, len(looks)-1)]
				if n++; users == nil {
					return nil, errors.New("not now")
				}
				return users, nil
			}, func(users []User) { got = append(got, users) })
		}()
		time.Sleep(10 * pollPause)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(got) != 3 || !reflect.DeepEqual(got[:2], [][]User{{ann, bob}, {ann}}) || len(got[2]) != 0 {
			t.Errorf("told %v", got)
		}
	})
}

func TestPollNotSupported(t *testing.T) {
	err := poll(t.Context(), func() ([]User, error) { return nil, errors.New("a privilege is missing") }, func([]User) { t.Error("told") })
	if !errors.Is(err, ErrNotSupported) {
		t.Errorf("%v", err)
	}
}

func TestWindowsPerson(t *testing.T) {
	for sid, want := range map[string]bool{"S-1-5-21-1-2-3-1001": true, "S-1-12-1-1-2-3-4": true, "S-1-5-21-1-2-3-501": false, "S-1-5-18": false, "S-1-5-90-0-1": false, "": false} {
		if windowsPerson(sid) != want {
			t.Errorf("%s: %v", sid, !want)
		}
	}
}
