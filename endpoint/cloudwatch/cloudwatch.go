// Package cloudwatch takes the connection log to CloudWatch Logs of AWS, or to what speaks its API. Lines wait in memory until
// they are delivered; who writes them never waits.
//
// Run is the only goroutine, which the caller starts and waits for. Nothing is sent before.
package cloudwatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
	"github.com/aws/smithy-go"
)

// Config says where lines go. Keys come from where AWS's own tools have them: the environment, the credentials file, the machine.
type Config struct {
	Group string // must exist, as with AWS Client VPN
	// Stream must exist, too; empty: one of the name Default, which is made when it is missing.
	Stream  string
	Default string
	Region  string // empty: the environment's
	URL     string // of the API; empty: AWS's in Region
}

// Bounds. Those of a batch are of PutLogEvents ("API_PutLogEvents" in AWS's reference).
const (
	maxBatch      = 10_000           // events
	maxBatchBytes = 1 << 20          // of them, each with eventBytes more
	eventBytes    = 26               //
	maxBatchSpan  = 23 * time.Hour   // between the first and the last of them: less than 24
	maxWaiting    = 1 << 16          // lines
	maxWaitBytes  = 16 << 20         // of them
	collectTime   = 5 * time.Second  // that a line waits for others
	attemptTime   = 10 * time.Second // for one request
	firstPause    = time.Second      // after a failure, then twice as long each time
	lastPause     = time.Minute      // the longest
	flushTime     = 5 * time.Second  // for all that waits at the end
	maxErrorText  = 500              // bytes of the API's words in the log
	regionMissing = "region is missing, and the environment names none (AWS_REGION)"
)

// ErrFull is Write's when too much waits.
var ErrFull = errors.New("CloudWatch Logs does not take the connection log, and no more of it can wait: entries are lost")

// errRefused is deliver's for a line that will never be taken. It waits no longer.
var errRefused = errors.New("refused for good")

// Sink delivers lines. Safe for concurrent use.
type Sink struct {
	cfg    Config
	stream string
	log    *slog.Logger
	client *cloudwatchlogs.Client
	lost   atomic.Uint64
	wake   chan struct{} // something waits

	mu      sync.Mutex
	waiting []line
	bytes   int
}

type line struct {
	at   time.Time
	text string
}

// Open reads the settings of AWS's tools. client is what requests go through; nil: AWS's usual one.
func Open(ctx context.Context, cfg Config, client config.HTTPClient, log *slog.Logger) (*Sink, error) {
	var settings []func(*config.LoadOptions) error
	if client != nil {
		settings = append(settings, config.WithHTTPClient(client))
	}
	if cfg.Region != "" {
		settings = append(settings, config.WithRegion(cfg.Region))
	}
	c, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("CloudWatch Logs: %w", err)
	}
	if c.Region == "" {
		return nil, errors.New("CloudWatch Logs: " + regionMissing)
	}
	s := &Sink{cfg: cfg, stream: cmp.Or(cfg.Stream, cfg.Default), log: log, wake: make(chan struct{}, 1)}
	s.client = cloudwatchlogs.NewFromConfig(c, func(o *cloudwatchlogs.Options) {
		o.Retryer = aws.NopRetryer{} // Run tries again
		if cfg.URL != "" {
			o.BaseEndpoint = &cfg.URL
		}
	})
	return s, nil
}

// Write takes one line of text. It does not wait: when there is no room it takes nothing, and the error is ErrFull.
func (s *Sink) Write(text []byte) (int, error) {
	l := line{at: time.Now(), text: strings.ToValidUTF8(strings.TrimSuffix(string(text), "\n"), "\uFFFD")}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) >= maxWaiting || s.bytes+l.size() > maxWaitBytes {
		return 0, ErrFull
	}
	s.waiting = append(s.waiting, l)
	s.bytes += l.size()
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return len(text), nil
}

// Lost is how many lines it took that were not delivered.
func (s *Sink) Lost() uint64 { return s.lost.Load() }

// Run delivers until ctx ends, and then what still waits, if that is possible within five seconds.
func (s *Sink) Run(ctx context.Context) {
	// A request that runs when ctx ends may come to its end: whether it passed would else be unknown.
	late, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, giveUp) })()
	timer := time.NewTimer(lastPause)
	defer timer.Stop()
	var failed int       // attempts since the last that passed
	var notYet time.Time // when the next one may be
	for {
		var later <-chan time.Time // nil: nothing waits
		if due, some := s.due(); some {
			timer.Reset(max(time.Until(due), time.Until(notYet)))
			later = timer.C
		}
		select {
		case <-ctx.Done():
			s.flush(late)
			return
		case <-s.wake:
			continue
		case <-later:
		}
		err := s.deliver(late)
		switch {
		case err != nil:
			if failed == 0 && !errors.Is(err, errRefused) {
				s.log.Error("the connection log does not reach CloudWatch Logs: it waits", s.said(err)...)
			}
			notYet = time.Now().Add(min(firstPause<<min(failed, 16), lastPause))
			failed++
		case failed > 0:
			s.log.Info("the connection log reaches CloudWatch Logs again", "group", s.cfg.Group, "stream", s.stream)
			failed, notYet = 0, time.Time{}
		}
	}
}

// due is when the next batch should go, if there is one.
func (s *Sink) due() (at time.Time, some bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.waiting) == 0:
		return time.Time{}, false
	case len(s.waiting) >= maxBatch || s.bytes >= maxBatchBytes:
		return time.Now(), true
	}
	return s.waiting[0].at.Add(collectTime), true
}

// flush tries once more with what waits, until ctx ends.
func (s *Sink) flush(ctx context.Context) {
	var err error
	for err == nil || errors.Is(err, errRefused) {
		if _, some := s.due(); !some {
			return
		}
		err = s.deliver(ctx)
	}
	s.mu.Lock()
	left := len(s.waiting)
	s.waiting, s.bytes = nil, 0
	s.mu.Unlock()
	s.lost.Add(uint64(left))
	s.log.Error("the connection log does not reach CloudWatch Logs: its last entries are lost", append([]any{"lost", left}, s.said(err)...)...)
}

// batch is what the next request takes; it still waits.
func (s *Sink) batch() []line {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first, last time.Time // the clock may have gone back
	n, size := 0, 0
	for ; n < min(len(s.waiting), maxBatch); n++ {
		l := s.waiting[n]
		size += l.size()
		if n == 0 || l.at.Before(first) {
			first = l.at
		}
		if n == 0 || l.at.After(last) {
			last = l.at
		}
		if n > 0 && (size > maxBatchBytes || last.Sub(first) > maxBatchSpan) {
			break
		}
	}
	return slices.Clone(s.waiting[:n])
}

func (l line) size() int { return len(l.text) + eventBytes }

// deliver sends one batch, after which it does not wait any more. Where something in it cannot be taken, such as a line that is too
// long, it sends a part, so that what is good does not wait for ever; what is refused alone is lost.
func (s *Sink) deliver(ctx context.Context) error {
	lines := s.batch()
	err := s.put(ctx, lines)
	var missing *types.ResourceNotFoundException
	if errors.As(err, &missing) && s.cfg.Stream == "" {
		if err = s.makeStream(ctx); err == nil {
			err = s.put(ctx, lines)
		}
	}
	var never *types.InvalidParameterException
	for errors.As(err, &never) && len(lines) > 1 {
		lines = lines[:len(lines)/2]
		err = s.put(ctx, lines)
	}
	switch {
	case errors.As(err, &never):
		s.lost.Add(1)
		s.log.Error("CloudWatch Logs refuses an entry of the connection log: it is lost", append([]any{"bytes", len(lines[0].text)}, s.said(err)...)...)
		err = errRefused
	case err != nil:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range lines {
		s.bytes -= l.size()
	}
	s.waiting = slices.Delete(s.waiting, 0, len(lines))
	return err
}

// put sends lines in the order of their times, as the API wants them; the clock may have gone back.
func (s *Sink) put(ctx context.Context, lines []line) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	in := &cloudwatchlogs.PutLogEventsInput{LogGroupName: &s.cfg.Group, LogStreamName: &s.stream}
	for _, l := range lines {
		in.LogEvents = append(in.LogEvents, types.InputLogEvent{Message: aws.String(l.text), Timestamp: aws.Int64(l.at.UnixMilli())})
	}
	out, err := s.client.PutLogEvents(ctx, in)
	if err != nil {
		return err
	}
	if r := out.RejectedLogEventsInfo; r != nil {
		rejected := max(aws.ToInt32(r.TooOldLogEventEndIndex), aws.ToInt32(r.ExpiredLogEventEndIndex))
		if r.TooNewLogEventStartIndex != nil {
			rejected += int32(len(lines)) - *r.TooNewLogEventStartIndex
		}
		rejected = min(max(rejected, 0), int32(len(lines)))
		s.lost.Add(uint64(rejected))
		s.log.Error("CloudWatch Logs refuses entries of the connection log: they are too old, or of the future by its clock", "lost", rejected)
	}
	return nil
}

// makeStream makes the stream of the endpoint's own name.
func (s *Sink) makeStream(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	_, err := s.client.CreateLogStream(ctx, &cloudwatchlogs.CreateLogStreamInput{LogGroupName: &s.cfg.Group, LogStreamName: &s.stream})
	var there *types.ResourceAlreadyExistsException
	if errors.As(err, &there) {
		return nil
	}
	return err
}

// said is a failure in the log's words.
func (s *Sink) said(err error) []any {
	text := err.Error()
	var api smithy.APIError
	hint := ""
	if errors.As(err, &api) {
		text = api.ErrorCode() + ": " + api.ErrorMessage()
		switch api.ErrorCode() {
		case "ResourceNotFoundException":
			hint = "aws logs create-log-group --log-group-name " + s.cfg.Group
			if s.cfg.Stream != "" {
				hint += ", and aws logs create-log-stream --log-group-name " + s.cfg.Group + " --log-stream-name " + s.stream
			}
		case "AccessDeniedException":
			hint = "the keys need logs:PutLogEvents, and logs:CreateLogStream where no stream is named"
		case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "IncompleteSignatureException", "MissingAuthenticationTokenException":
			hint = "look at the keys (aws sts get-caller-identity), and at this machine's clock"
		}
	}
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	out := []any{"group", s.cfg.Group, "stream", s.stream, "error", text}
	if hint != "" {
		out = append(out, "hint", hint)
	}
	return out
}
