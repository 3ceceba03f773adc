package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// errClosed says that the system has ended the watch.
var errClosed = errors.New("the system's watch is over")

// Folders calls changed when something may have changed directly in one of the folders, or these themselves have, until ctx ends, whose cause
// it returns. Folders are absolute paths and need not exist. Changed is called once as soon as all is watched, and after that once or
// more for each change, always on the goroutine of Folders.
//
// Where a path leads over a symbolic link, that is followed as it was when the watch began. Changes that another host makes in
// a file system of the network are not seen (inotify(7)).
func Folders(ctx context.Context, folders []string, changed func()) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return fmt.Errorf("watch folders: %w", err)
	}
	defer w.Close()
	on := way(folders)
	for {
		// What was missing may be there by now, and what is there may be another one. A folder that comes while this looks is told of by
		// the one above it, which is therefore watched first.
		for _, dir := range on {
			if err := w.Add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("watch %s: %w", dir, err)
			}
		}
		changed()
		if err := next(ctx, w, func(name string) bool { return matters(on, folders, name) }); err != nil {
			return err
		}
	}
}

// next waits for something that matters.
func next(ctx context.Context, w *fsnotify.Watcher, matters func(name string) bool) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.Events:
			if !ok {
				return errClosed
			}
			if matters(filepath.Clean(e.Name)) {
				return nil
			}
		case err, ok := <-w.Errors:
			if !ok {
				return errClosed
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) { // anything may have changed
				return nil
			}
			return fmt.Errorf("watch folders: %w", err)
		}
	}
}
