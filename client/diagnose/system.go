package diagnose

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// commandTimeout is for each of the system's programs.
const commandTimeout = 5 * time.Second

// look is one thing to look at: a file, or what a program of the system prints. Neither changes anything.
type look struct {
	name, what string
	file       string   // read this,
	argv       []string // or run this
}

// read reads a file of the system, bounded.
func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, largestFile))
	return string(b), err
}

// run runs a program of the system with an empty environment and returns what it prints. It is looked for where only the
// administrator can put one, since root may be the one who asks.
func run(ctx context.Context, argv ...string) (string, error) {
	path, err := find(argv[0])
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	var out, wrong cut
	cmd := exec.CommandContext(ctx, path, argv[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &wrong
	cmd.Env = environment()
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = errors.New("it did not end in time")
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, oneLine(wrong.String()))
	}
	return out.String(), nil
}

func find(name string) (string, error) {
	for _, dir := range programDirs() {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no %s on this system", name)
}

// cut keeps the first bytes of what a program prints.
type cut struct{ bytes.Buffer }

func (c *cut) Write(b []byte) (int, error) {
	if room := largestFile - c.Len(); room > 0 {
		c.Buffer.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}

// system puts in what the system tells this user about its network.
func (b *bundle) system() {
	for _, p := range probes() {
		if b.ctx.Err() != nil {
			return
		}
		var text string
		var err error
		if p.file != "" {
			text, err = read(p.file)
		} else {
			text, err = run(b.ctx, p.argv...)
		}
		b.addText("system/"+p.name, p.what, text, err)
	}
	b.guard()
}
