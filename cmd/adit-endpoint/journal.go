package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"

	"github.com/adit-vpn/adit/endpoint"
)

// journal is the connection log of an endpoint while it runs: it goes where the configuration says, and elsewhere when that
// changes. Lines of an endpoint without a log go nowhere. Safe for concurrent use.
type journal struct {
	ctx    context.Context // until the process ends: logs are opened while it runs
	id     string          // of the endpoint
	stdout io.Writer
	log    *slog.Logger

	mu   sync.Mutex // never held while a line is written: that may stand still
	now  connectionLog
	from endpoint.ConnectionLog // that now was opened from
	lost uint64                 // by the logs before now
}

// openJournal opens what cfg names.
func openJournal(ctx context.Context, cfg endpoint.Config, id string, stdout io.Writer, log *slog.Logger) (*journal, error) {
	l, err := openConnectionLog(ctx, cfg, id, stdout, log)
	if err != nil {
		return nil, err
	}
	return &journal{ctx: ctx, id: id, stdout: stdout, log: log, now: l, from: cfg.ConnectionLog}, nil
}

// Write implements io.Writer: one line at a time.
func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	to := j.now.to
	j.mu.Unlock()
	if to == nil {
		return len(line), nil
	}
	return to.Write(line)
}

// follow goes where cfg says. The same place is opened again, since others may have moved the file away: if that fails, the log
// says so, and the next line tries again.
func (j *journal) follow(cfg endpoint.Config) error {
	j.mu.Lock()
	old, same := j.now, j.from == cfg.ConnectionLog
	j.mu.Unlock()
	if same {
		if err := old.reopen(); err != nil {
			j.log.Error("the connection log cannot be opened again", "error", err)
		}
		return nil
	}
	next, err := openConnectionLog(j.ctx, cfg, j.id, j.stdout, j.log)
	if err != nil {
		return fmt.Errorf("the connection log stays where it is: %w", err)
	}
	j.mu.Lock()
	j.now, j.from = next, cfg.ConnectionLog
	j.mu.Unlock()
	old.close()
	j.mu.Lock()
	j.lost += old.lost()
	j.mu.Unlock()
	return nil
}

// Lost is how many lines were taken and lost.
func (j *journal) Lost() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.lost + j.now.lost()
}

// close closes the file. Nobody writes any more.
func (j *journal) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.now.close()
}
