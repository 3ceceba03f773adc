package pki

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFullDisk makes a CA and certificates where there is less and less room: each is there whole or not at all, and with room all are made.
func TestFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("a small file system is mounted by root only")
		}
		t.Skip("a small file system is mounted by root only")
	}
	dir := t.TempDir()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with its mounts
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			for kib := 4; kib <= 100; kib += 4 {
				if err := onSmallDisk(t, dir, kib); err != nil {
					return fmt.Errorf("%d KiB: %w", kib, err)
				}
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func onSmallDisk(t *testing.T, dir string, kib int) error {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib)); err != nil {
		return err
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	p, err := Open(filepath.Join(dir, "pki"))
	if err != nil {
		return err
	}
	steps := []func() error{
		func() error { return p.Init(Options{}) },
		func() error { _, err := p.Server("server", Options{}); return err },
		func() error { _, err := p.Client("client", Options{}); return err },
		func() error { _, err := p.Renew("server", Options{}); return err },
	}
	for room := range 2 {
		for i, step := range steps {
			err := step()
			switch {
			case errors.Is(err, ErrUnwritten) && room == 0, errors.Is(err, ErrNoCA) && room == 0 && i > 0, errors.Is(err, ErrNotFound) && room == 0 && i == 3:
			case errors.Is(err, ErrCAExists) && room == 1 && i == 0, errors.Is(err, ErrExists) && room == 1 && i > 0: // made before
			case err != nil:
				return fmt.Errorf("step %d, room %d: %w", i, room, err)
			}
		}
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=10m"); err != nil {
			return err
		}
	}
	if _, err := p.Bundle("client"); err != nil {
		return err
	}
	b, err := p.Bundle("server")
	if err != nil {
		return err
	}
	key, err := parseKey([]byte(b.Key))
	if err != nil {
		return err
	}
	cert, err := parseCert(b.Cert)
	if err == nil && !sameKey(cert.PublicKey, key) {
		err = errors.New("the server's key is another one's")
	}
	return err
}
