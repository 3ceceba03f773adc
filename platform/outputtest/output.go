// Package outputtest holds what a program or a logger says while a test reads it.
package outputtest

import (
	"bytes"
	"sync"
)

// Output takes what is written. The zero value is empty. It is safe for concurrent use, and not to be copied.
type Output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer; it never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is all that was written so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
