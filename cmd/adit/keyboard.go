package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/adit-vpn/adit/ovpn/push"
)

// errStopped says that the person pressed Ctrl-C or Ctrl-D at a prompt.
var errStopped = errors.New("stopped at the terminal")

// keyboard asks at the terminal, such that a prompt can be taken back while it waits. One
// goroutine may ask.
type keyboard struct {
	in    *os.File
	start sync.Once
	typed chan []byte
	rest  []byte // typed, and not read yet
}

// newKeyboard returns nil where there is no terminal.
func newKeyboard() *keyboard {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return nil
	}
	return &keyboard{in: os.Stdin, typed: make(chan []byte)}
}

// ask prompts for one line. What is typed shows with echo only. The error is errStopped, or ctx's. The
// terminal is raw meanwhile, so Ctrl-C comes as a key.
func (k *keyboard) ask(ctx context.Context, prompt string, echo bool) (push.Secret, error) {
	// Nothing can end a read of the standard input: this goroutine stays until the process ends,
	// and keeps what is typed for the next prompt.
	k.start.Do(func() {
		go func() {
			for {
				b := make([]byte, 256)
				n, err := k.in.Read(b)
				if n > 0 {
					k.typed <- b[:n]
				}
				if err != nil {
					close(k.typed)
					return
				}
			}
		}()
	})
	fd := int(k.in.Fd())
	state, err := term.MakeRaw(fd)
	if err != nil {
		return "", fmt.Errorf("cannot ask at the terminal: %w", err)
	}
	defer term.Restore(fd, state)
	t := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{keys{ctx, k}, os.Stderr}, prompt)
	var line string
	if echo {
		line, err = t.ReadLine()
	} else {
		line, err = t.ReadPassword(prompt)
	}
	if err != nil {
		fmt.Fprint(os.Stderr, "\r\n")
	}
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, io.EOF):
		return "", errStopped
	}
	return push.Secret(line), err
}

// keys reads what is typed, a byte at a time: what follows a line's end is the next prompt's.
type keys struct {
	ctx context.Context
	k   *keyboard
}

func (r keys) Read(b []byte) (int, error) {
	if len(r.k.rest) == 0 {
		select {
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		case typed, ok := <-r.k.typed:
			if !ok {
				return 0, io.EOF
			}
			r.k.rest = typed
		}
	}
	n := copy(b[:1], r.k.rest)
	r.k.rest = r.k.rest[n:]
	return n, nil
}
