package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/cloudwatch"
)

// logFile is a file to which whole lines are appended. When it is full it becomes NAME.1, that NAME.2, and so on. Others
// may move it away, too: reopen begins a new one. Safe for concurrent use.
type logFile struct {
	name string
	most int64 // bytes
	room int64 // bytes until it is put aside: most, or more after that has failed
	keep int   // how many old ones stay

	mu   sync.Mutex
	file *os.File // nil: not open
	size int64
}

// openLogFile opens name, for its owner alone where it is new.
func openLogFile(name string, most int64, keep int) (*logFile, error) {
	l := &logFile{name: name, most: most, room: most, keep: keep}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l, l.open()
}

// open is called with mu held.
func (l *logFile) open() error {
	f, err := os.OpenFile(l.name, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", l.name)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.file, l.size = f, info.Size()
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, l.size-1); err == nil && last[0] != '\n' { // the machine stopped in the middle of a line
		if n, err := f.WriteString("\n"); err == nil {
			l.size += int64(n)
		}
	}
	return nil
}

// Write appends a line. A full file that cannot be put aside stays and takes it all the same, with an error that says so: the
// next try is when it is as full again.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var stays error
	if l.file != nil && l.size > 0 && l.size+int64(len(line)) > l.room {
		if err := l.turn(); err != nil {
			stays = fmt.Errorf("%s goes on over its size: %w", l.name, err)
			l.room += l.most
		} else {
			l.room = l.most
		}
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, errors.Join(stays, err)
		}
	}
	n, err := l.append(line)
	return n, errors.Join(stays, err)
}

// append is called with mu held, and the file open.
func (l *logFile) append(line []byte) (int, error) {
	n, err := l.file.Write(line)
	l.size += int64(n)
	if n < len(line) { // a full disk
		if e := l.file.Truncate(l.size - int64(n)); e == nil {
			l.size -= int64(n)
			n = 0
		}
	}
	return n, err
}

// turn puts the file aside, unless somebody else has. With mu held.
func (l *logFile) turn() error {
	err := l.file.Close()
	l.file = nil
	if err != nil {
		return err
	}
	if _, err := os.Lstat(l.name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if l.keep == 0 {
		return os.Remove(l.name)
	}
	for i := l.keep - 1; i >= 1; i-- {
		if err := os.Rename(fmt.Sprintf("%s.%d", l.name, i), fmt.Sprintf("%s.%d", l.name, i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Rename(l.name, l.name+".1")
}

// reopen goes on in the file that has the name now, which is made where there is none.
func (l *logFile) reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return err
		}
		l.file = nil
	}
	l.room = l.most
	return l.open()
}

// Close closes the file. A Write after it opens it again.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	return f.Close()
}

// connectionLog is where an endpoint's connection log goes.
type connectionLog struct {
	to   io.Writer // nil: nowhere
	file *logFile  // nil: to is none
	end  func()    // stops what delivers; nil: nothing does
}

// openConnectionLog opens what cfg names, for the endpoint of an id.
func openConnectionLog(ctx context.Context, cfg endpoint.Config, id string, stdout io.Writer, log *slog.Logger) (connectionLog, error) {
	switch c := cfg.ConnectionLog; {
	case c.Stdout:
		return connectionLog{to: stdout}, nil
	case c.CloudWatch != endpoint.CloudWatch{}:
		w := c.CloudWatch
		sink, err := cloudwatch.Open(ctx, cloudwatch.Config{Group: w.Group, Stream: w.Stream, Default: id, Region: w.Region, URL: w.URL}, nil, log)
		if err != nil {
			return connectionLog{}, fmt.Errorf("connection_log: %w", err)
		}
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // it outlives the endpoint, whose last lines it delivers
		var running sync.WaitGroup
		running.Go(func() { sink.Run(ctx) })
		return connectionLog{to: sink, end: func() { cancel(); running.Wait() }}, nil
	case c.File != "":
		f, err := openLogFile(cfg.Path(c.File), int64(c.MaxMB)<<20, c.Keep)
		if err != nil {
			return connectionLog{}, fmt.Errorf("connection_log: %w", err)
		}
		return connectionLog{to: f, file: f}, nil
	}
	return connectionLog{}, nil
}

func (c connectionLog) reopen() error {
	if c.file == nil {
		return nil
	}
	return c.file.reopen()
}

// lost is how many lines were taken and lost.
func (c connectionLog) lost() uint64 {
	if to, ok := c.to.(interface{ Lost() uint64 }); ok {
		return to.Lost()
	}
	return 0
}

func (c connectionLog) close() {
	if c.end != nil {
		c.end()
	}
	if c.file != nil {
		_ = c.file.Close() // each line was written when it came
	}
}
