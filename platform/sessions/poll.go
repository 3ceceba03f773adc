package sessions

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// pollPause is the pause between two looks where the system sends no word of its own.
const pollPause = 2 * time.Second

// poll is Watch by looking again and again. A look that fails after one that did not changes nothing.
func poll(ctx context.Context, look func() ([]User, error), changed func([]User)) error {
	last, err := look()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSupported, err)
	}
	last = sorted(last)
	changed(last)
	ticks := time.NewTicker(pollPause)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		now, err := look()
		if now = sorted(now); err != nil || slices.Equal(now, last) {
			continue
		}
		last = now
		changed(now)
	}
}

// sorted is users by account, each once.
func sorted(users []User) []User {
	users = slices.SortedFunc(slices.Values(users), func(a, b User) int { return strings.Compare(a.Account, b.Account) })
	return slices.CompactFunc(users, func(a, b User) bool { return a.Account == b.Account })
}

// windowsPerson says whether an account of Windows that has a session is a person's: one of this machine or its domain, but
// not Guest, or of Entra ID. The others are those of the system's own windows (S-1-5-90, S-1-5-96).
func windowsPerson(sid string) bool {
	return strings.HasPrefix(sid, "S-1-5-21-") && !strings.HasSuffix(sid, "-501") || strings.HasPrefix(sid, "S-1-12-1-")
}
