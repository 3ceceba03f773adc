package platform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/adit-vpn/adit/platform/nft"
	"github.com/adit-vpn/adit/routes"
)

// guardKeeper owns the table of one Host. Where another program takes it away, such as a firewall manager that begins with
// "flush ruleset", it is written again at once. It owns one goroutine, which close waits for.
type guardKeeper struct {
	table string
	log   *slog.Logger
	notes *os.File // of changes to nftables
	done  sync.WaitGroup

	mu     sync.Mutex // held while the table is looked at or changed
	conn   *nft.Conn
	closed *routes.Guard // what the table has; nil: there is none, or an earlier run's
}

// keepGuard opens what is needed in the calling thread's network namespace. It changes nothing.
func keepGuard(table string, log *slog.Logger) (*guardKeeper, error) {
	notes, err := openNotes(unix.NETLINK_NETFILTER, 1<<(unix.NFNLGRP_NFTABLES-1))
	if err != nil {
		return nil, fmt.Errorf("watch nftables: %w", err)
	}
	c, err := nft.Open()
	if err != nil {
		notes.Close()
		return nil, err
	}
	k := &guardKeeper{table: table, log: log, notes: notes, conn: c}
	k.done.Go(k.run)
	return k, nil
}

// put writes g in place of what is there. First says that there should be no table yet.
func (k *guardKeeper) put(g routes.Guard, first bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := closeGuard(k.conn, k.table, g, first); err != nil {
		return err
	}
	k.closed = &g
	return nil
}

// remove takes the table away.
func (k *guardKeeper) remove() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.conn.Delete(k.table); err != nil {
		return err
	}
	k.closed = nil
	return nil
}

// close stops looking after the table, and leaves it as it is.
func (k *guardKeeper) close() error {
	k.notes.Close()
	k.done.Wait()
	return k.conn.Close()
}

func (k *guardKeeper) run() {
	buf := make([]byte, 1<<16)
	for {
		n, err := k.notes.Read(buf)
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // notes that were lost may have been ours
			return
		}
		if err != nil || k.concerns(buf[:n]) {
			k.restore()
		}
	}
}

// concerns says whether notes tell that the table is gone.
func (k *guardKeeper) concerns(notes []byte) bool {
	messages, err := syscall.ParseNetlinkMessage(notes)
	if err != nil {
		return true // cut off: look
	}
	for _, m := range messages {
		// struct nfgenmsg, then the first attribute: NFTA_TABLE_NAME (linux/netfilter/nf_tables.h).
		if m.Header.Type != unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_DELTABLE || len(m.Data) < 8 {
			continue
		}
		attr := m.Data[4:]
		if n := int(binary.NativeEndian.Uint16(attr)); n >= 4 && n <= len(attr) && unix.ByteSliceToString(attr[4:n]) == k.table {
			return true
		}
	}
	return false
}

// restore writes the table again if it ought to be there and is not.
func (k *guardKeeper) restore() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed == nil {
		return
	}
	names, err := k.conn.Tables()
	switch {
	case slices.Contains(names, k.table):
		return
	case err == nil:
		err = closeGuard(k.conn, k.table, *k.closed, true)
	}
	if err != nil {
		k.log.Error("another program took the guard away, and it cannot be closed again", "error", err)
		return
	}
	k.log.Warn("another program took the guard away; it is closed again")
}
