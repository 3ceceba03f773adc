package proxy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
)

// The numbers of RFC 1928 and 1929.
const (
	socksVersion = 5

	methodNone     = 0
	methodPassword = 2
	methodNoneFits = 0xff

	commandConnect   = 1
	commandAssociate = 3

	typeIPv4 = 1
	typeName = 3
	typeIPv6 = 4
)

// connectSOCKS opens a stream to target.
func (c *Config) connectSOCKS(ctx context.Context, dial Dial, target Target) (net.Conn, error) {
	conn, _, err := c.command(ctx, dial, commandConnect, target)
	return conn, err
}

// command signs in, sends one command, and returns the connection and the address of the answer. No
// byte behind the answer is read.
func (c *Config) command(ctx context.Context, dial Dial, cmd byte, target Target) (net.Conn, netip.AddrPort, error) {
	conn, err := dial(ctx)
	if err != nil {
		return nil, netip.AddrPort{}, unreachable(err)
	}
	free := bound(ctx, conn)
	address, err := c.talk(conn, cmd, target)
	if ferr := free(); err == nil && ferr != nil {
		err = unreachable(ferr)
	}
	if err != nil {
		_ = conn.Close()
		return nil, netip.AddrPort{}, err
	}
	return conn, address, nil
}

// talk is the conversation up to the answer:
//  1. the methods that we have; the one that it chooses
//  2. user and password (RFC 1929), if it chose that
//  3. the command and the answer
func (c *Config) talk(conn io.ReadWriter, cmd byte, target Target) (netip.AddrPort, error) {
	fail := func(cause Cause, format string, a ...any) (netip.AddrPort, error) {
		return netip.AddrPort{}, &Error{Cause: cause, Text: fmt.Sprintf(format, a...)}
	}
	methods := []byte{methodNone}
	if c.User != "" {
		methods = append(methods, methodPassword)
	}
	chosen, err := exchange(conn, append([]byte{socksVersion, byte(len(methods))}, methods...))
	switch {
	case err != nil:
		return netip.AddrPort{}, err
	case chosen[0] != socksVersion:
		return fail(Broken, "it does not speak SOCKS5 (its answer begins with %#02x)", chosen[0])
	case chosen[1] == methodPassword && c.User != "":
		n, p := len(c.User), len(c.Password)
		m := append([]byte{1, byte(n)}, c.User...)
		m = append(append(m, byte(p)), c.Password...)
		answer, err := exchange(conn, m) // its version is 1, or 5 from some
		var e *Error
		if errors.As(err, &e) && e.Cause == Unreachable && errors.Is(err, io.EOF) {
			return fail(CredentialsRefused, "the proxy hangs up on the user name and password")
		} else if err != nil {
			return netip.AddrPort{}, err
		}
		if answer[1] != 0 {
			return fail(CredentialsRefused, "the proxy does not accept the user name and password")
		}
	case chosen[1] == methodNone:
	case c.User == "" && (chosen[1] == methodNoneFits || chosen[1] == methodPassword):
		return fail(CredentialsNeeded, "the proxy asks for a user name and password")
	default:
		return fail(CredentialsNeeded, "the proxy takes no sign-in by user name and password")
	}

	request := append(make([]byte, 0, 262), socksVersion, cmd, 0)
	request, err = appendTarget(request, target)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if _, err := conn.Write(request); err != nil {
		return netip.AddrPort{}, unreachable(err)
	}
	return readReply(conn)
}

// exchange sends m and reads two bytes.
func exchange(conn io.ReadWriter, m []byte) (answer [2]byte, err error) {
	if _, err := conn.Write(m); err != nil {
		return answer, unreachable(err)
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return answer, unreachable(err)
	}
	return answer, nil
}

// readReply reads the answer to a command: its address is zero when that is a name. It reads no
// byte too many.
func readReply(r io.Reader) (netip.AddrPort, error) {
	var b [256 + 2]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return netip.AddrPort{}, unreachable(err)
	}
	if b[0] != socksVersion {
		return netip.AddrPort{}, &Error{Cause: Broken, Text: fmt.Sprintf("it does not speak SOCKS5 (its answer begins with %#02x)", b[0])}
	}
	if code := b[1]; code != 0 { // some send nothing behind it
		return netip.AddrPort{}, &Error{Cause: causeOf(code), Text: replyText(code)}
	}
	n := 0
	switch b[3] {
	case typeIPv4:
		n = 4
	case typeIPv6:
		n = 16
	case typeName:
		if _, err := io.ReadFull(r, b[:1]); err != nil {
			return netip.AddrPort{}, unreachable(err)
		}
		_, err := io.ReadFull(r, b[:int(b[0])+2])
		if err != nil {
			return netip.AddrPort{}, unreachable(err)
		}
		return netip.AddrPort{}, nil
	default:
		return netip.AddrPort{}, &Error{Cause: Broken, Text: fmt.Sprintf("its answer has an address of unknown type %d", b[3])}
	}
	if _, err := io.ReadFull(r, b[:n+2]); err != nil {
		return netip.AddrPort{}, unreachable(err)
	}
	a, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(a.Unmap(), binary.BigEndian.Uint16(b[n:])), nil
}

// causeOf sorts a reply code (RFC 1928, 6).
func causeOf(code byte) Cause {
	switch code {
	case 7, 8: // of the command, of the address
		return Broken
	}
	return TargetRefused
}

func replyText(code byte) string {
	switch code {
	case 1:
		return "general failure"
	case 2:
		return "its rules do not allow it"
	case 3:
		return "the network is unreachable"
	case 4:
		return "the host is unreachable"
	case 5:
		return "connection refused"
	case 6:
		return "it took too long"
	case 7:
		return "it cannot do this command (UDP needs a proxy with UDP ASSOCIATE)"
	case 8:
		return "it cannot do this type of address"
	}
	return fmt.Sprintf("failure %d", code)
}

// appendTarget appends type, address and port: 7 bytes for IPv4, 19 for IPv6, 4 and its length for a name.
func appendTarget(b []byte, t Target) ([]byte, error) {
	switch a, ok := t.address(); {
	case ok && a.Is4():
		b = append(append(b, typeIPv4), a.AsSlice()...)
	case ok:
		b = append(append(b, typeIPv6), a.AsSlice()...)
	case len(t.Host) > 255 || t.Host == "":
		return nil, &Error{Cause: Broken, Text: "the server's name is too long for SOCKS5"}
	default:
		b = append(append(b, typeName, byte(len(t.Host))), t.Host...)
	}
	return binary.BigEndian.AppendUint16(b, t.Port), nil
}
