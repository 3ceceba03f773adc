package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Conn talks to nftables in the network namespace of the thread that opened it. It is for one goroutine at a time.
type Conn struct {
	kernel *nftables.Conn // for questions
	wire   *netlink.Conn  // kernel's socket, for transactions
}

// Open opens a Conn, which the caller closes.
func Open() (*Conn, error) {
	const room = 16 << 20 // bytes, for 4096 rules: those of an endpoint may be more than the usual buffer holds
	c := &Conn{}
	var err error
	c.kernel, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(wire *netlink.Conn) error {
		c.wire = wire
		// An answer is so many bytes, however long its question was.
		return errors.Join(wire.SetWriteBuffer(room), wire.SetOption(netlink.CapAcknowledge, true))
	}))
	if err != nil {
		return nil, fmt.Errorf("nftables: %w", err)
	}
	return c, nil
}

// Close closes c, and leaves the tables as they are.
func (c *Conn) Close() error { return c.kernel.CloseLasting() }

// Tables are the names of the tables of both families.
func (c *Conn) Tables() (names []string, err error) {
	tables, err := c.kernel.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return nil, fmt.Errorf("list nftables tables: %w", err)
	}
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return names, nil
}

// Transact has the kernel carry out what write puts into the transaction, whole or, on an error, not at all. The transaction cannot ask
// for what is there.
//
// nftables.Conn.Flush has every rule echoed and acknowledged, and waits for that with several system calls each, which takes longer
// than the kernel's work. Here it only writes the messages, and the last one alone is acknowledged: once all are carried out.
func (c *Conn) Transact(write func(tx *nftables.Conn) error) error {
	var messages []netlink.Message
	tx, err := nftables.New(nftables.AsLasting(), nftables.WithTestDial(func(m []netlink.Message) ([]netlink.Message, error) {
		messages = append(messages, m...)
		return nil, io.EOF // no answer
	}))
	if err != nil {
		return err
	}
	if err := write(tx); err != nil {
		return err
	}
	if err := tx.Flush(); err != nil || len(messages) == 0 {
		return err
	}
	for i := range messages {
		h := &messages[i].Header
		h.Sequence, h.PID = 0, 0 // the wire's own
		h.Flags &^= netlink.Acknowledge | netlink.Echo
	}
	last := len(messages) - 2 // before what ends the batch
	messages[last].Header.Flags |= netlink.Acknowledge
	sent, err := c.wire.SendMessages(messages)
	if err != nil {
		return err
	}
	return c.answer(sent[last].Header.Sequence)
}

// answer is the first error of a transaction whose last message is acknowledged. The kernel has answered by the time that it is sent:
// with the errors of single messages in their order, and with the acknowledgement, or with one error for all. All of it is read,
// so that nothing is left for the next transaction.
func (c *Conn) answer(last uint32) error {
	raw, err := c.wire.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	done := false
	err = raw.Read(func(fd uintptr) bool {
		for {
			var buf [4096]byte
			n, _, err := unix.Recvfrom(int(fd), buf[:], unix.MSG_DONTWAIT)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case errors.Is(err, unix.EAGAIN):
				return done || failed != nil
			case err != nil:
				failed = errors.Join(failed, err)
				return true
			}
			// struct nlmsghdr and the error of struct nlmsgerr (linux/netlink.h).
			if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
				continue
			}
			if code := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 && failed == nil {
				failed = unix.Errno(-code)
			}
			done = done || binary.NativeEndian.Uint32(buf[8:]) == last
		}
	})
	return errors.Join(failed, err)
}

// Create begins, within a transaction, a table of both families of that name, where there is none: with one the
// transaction fails with EEXIST. It is much faster than Replace: taking a table away waits for all processors.
func Create(tx *nftables.Conn, name string) *nftables.Table {
	return tx.CreateTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: name})
}

// Replace begins, within a transaction, a table of both families of that name in place of one that may be there.
func Replace(tx *nftables.Conn, name string) *nftables.Table {
	return tx.AddTable(remove(tx, name))
}

// remove takes away, within a transaction, a table that may be there.
func remove(tx *nftables.Conn, name string) *nftables.Table {
	t := &nftables.Table{Family: nftables.TableFamilyINet, Name: name}
	tx.AddTable(t) // so that the deletion cannot fail
	tx.DelTable(t)
	return t
}

// Delete removes a table if it is there.
func Delete(name string) error {
	c, err := Open()
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Delete(name)
}

// Delete is like the function.
func (c *Conn) Delete(name string) error {
	err := c.Transact(func(tx *nftables.Conn) error {
		remove(tx, name)
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete nftables table %s: %w", name, err)
	}
	return nil
}

// Exists reports whether there is a table of both families of that name.
func Exists(name string) (bool, error) {
	names, err := Tables()
	return slices.Contains(names, name), err
}

// Tables is like Conn's, in the calling thread's network namespace.
func Tables() ([]string, error) {
	c, err := Open()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Tables()
}
