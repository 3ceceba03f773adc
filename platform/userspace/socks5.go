package userspace

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// The numbers of RFC 1928 and RFC 1929.
const (
	socksVersion = 5
	authVersion  = 1

	methodNone     = 0
	methodPassword = 2
	methodRefused  = 0xff

	commandConnect      = 1
	commandUDPAssociate = 3

	addrIPv4 = 1
	addrName = 3
	addrIPv6 = 4

	replyDone           = 0
	replyFailure        = 1
	replyNetUnreachable = 3
	replyUnreachable    = 4
	replyRefused        = 5
	replyTimeout        = 6 // "TTL expired": what others answer when nobody does
	replyNoCommand      = 7
	replyNoAddressType  = 8
)

var errAddressType = errors.New("unknown address type")

// SOCKS5 is a SOCKS 5 server (RFC 1928): CONNECT and UDP ASSOCIATE, host names
// looked up through the tunnel, and user name and password (RFC 1929) when it has
// credentials. BIND is refused.
type SOCKS5 struct {
	host        *Host
	log         *slog.Logger
	credentials *Credentials
}

// NewSOCKS5 reaches everything through host; nil credentials ask for none.
func NewSOCKS5(host *Host, log *slog.Logger, credentials *Credentials) *SOCKS5 {
	return &SOCKS5{host: host, log: log, credentials: credentials}
}

// Serve takes connections until ctx ends, and then returns nil with none left.
func (s *SOCKS5) Serve(ctx context.Context, listener net.Listener) error {
	return serve(ctx, listener, s.handle)
}

func (s *SOCKS5) handle(ctx context.Context, conn net.Conn) {
	conn.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := s.greet(conn); err != nil {
		s.log.Debug("socks handshake failed", "from", conn.RemoteAddr(), "error", err)
		return
	}
	command, to, err := readRequest(conn)
	if err != nil {
		if errors.Is(err, errAddressType) {
			answer(conn, replyNoAddressType, netip.AddrPort{})
		}
		s.log.Debug("bad socks request", "from", conn.RemoteAddr(), "error", err)
		return
	}
	conn.SetDeadline(time.Time{})
	switch command {
	case commandConnect:
		s.connect(ctx, conn, to)
	case commandUDPAssociate:
		s.associate(ctx, conn)
	default:
		answer(conn, replyNoCommand, netip.AddrPort{})
	}
}

// greet settles the authentication method, and authenticates.
func (s *SOCKS5) greet(conn io.ReadWriter) error {
	methods, err := readGreeting(conn)
	if err != nil {
		return err
	}
	want := byte(methodNone)
	if s.credentials != nil {
		want = methodPassword
	}
	offered := false
	for _, m := range methods {
		offered = offered || m == want
	}
	if !offered {
		conn.Write([]byte{socksVersion, methodRefused})
		return fmt.Errorf("methods %v offered, want %d", methods, want)
	}
	if _, err := conn.Write([]byte{socksVersion, want}); err != nil || want == methodNone {
		return err
	}
	user, password, err := readPassword(conn)
	if err != nil {
		return err
	}
	if !s.credentials.match(user, password) {
		conn.Write([]byte{authVersion, 1})
		return fmt.Errorf("wrong credentials of user %q", user)
	}
	_, err = conn.Write([]byte{authVersion, 0})
	return err
}

// readGreeting reads the methods that a client offers, RFC 1928 §3.
func readGreeting(r io.Reader) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[0] != socksVersion {
		return nil, fmt.Errorf("SOCKS version %d, want 5", head[0])
	}
	methods := make([]byte, head[1])
	_, err := io.ReadFull(r, methods)
	return methods, err
}

// readPassword reads the request of RFC 1929 §2.
func readPassword(r io.Reader) (user, password string, err error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return "", "", err
	}
	if version[0] != authVersion {
		return "", "", fmt.Errorf("authentication version %d, want 1", version[0])
	}
	if user, err = readString(r); err != nil {
		return "", "", err
	}
	password, err = readString(r)
	return user, password, err
}

// readString reads up to 255 bytes with their number in front.
func readString(r io.Reader) (string, error) {
	var size [1]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", err
	}
	b := make([]byte, size[0])
	_, err := io.ReadFull(r, b)
	return string(b), err
}

// destination is where a request wants to go: an address or a name.
type destination struct {
	addr netip.Addr
	name string // if addr is zero
	port uint16
}

// String is HOST:PORT, for DialContext.
func (d destination) String() string {
	host := d.name
	if d.addr.IsValid() {
		host = d.addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(d.port)))
}

// readRequest reads a request, RFC 1928 §4.
func readRequest(r io.Reader) (command byte, to destination, err error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, destination{}, err
	}
	if head[0] != socksVersion {
		return 0, destination{}, fmt.Errorf("SOCKS version %d, want 5", head[0])
	}
	to, err = readDestination(r)
	return head[1], to, err
}

// readDestination reads an address of any type and a port, RFC 1928 §5. A name
// that is an address in letters counts as the address.
func readDestination(r io.Reader) (destination, error) {
	var kind [1]byte
	if _, err := io.ReadFull(r, kind[:]); err != nil {
		return destination{}, err
	}
	var d destination
	switch kind[0] {
	case addrIPv4:
		var a [4]byte
		if _, err := io.ReadFull(r, a[:]); err != nil {
			return destination{}, err
		}
		d.addr = netip.AddrFrom4(a)
	case addrIPv6:
		var a [16]byte
		if _, err := io.ReadFull(r, a[:]); err != nil {
			return destination{}, err
		}
		d.addr = netip.AddrFrom16(a).Unmap()
	case addrName:
		name, err := readString(r)
		if err != nil {
			return destination{}, err
		}
		if addr, err := netip.ParseAddr(name); err == nil && addr.Zone() == "" {
			d.addr = addr.Unmap()
		} else if d.name = name; !isHostName(name) {
			return destination{}, fmt.Errorf("%q is not a host name", name)
		}
	default:
		return destination{}, fmt.Errorf("%w %d", errAddressType, kind[0])
	}
	var port [2]byte
	if _, err := io.ReadFull(r, port[:]); err != nil {
		return destination{}, err
	}
	d.port = binary.BigEndian.Uint16(port[:])
	return d, nil
}

// appendDestination is the reverse of readDestination for addresses.
func appendDestination(b []byte, a netip.AddrPort) []byte {
	addr := a.Addr().Unmap()
	if !addr.IsValid() {
		addr = netip.IPv4Unspecified()
	}
	if addr.Is4() {
		b = append(b, addrIPv4)
	} else {
		b = append(b, addrIPv6)
	}
	b = append(b, addr.AsSlice()...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

// answer writes a reply, RFC 1928 §6.
func answer(w io.Writer, code byte, bound netip.AddrPort) error {
	_, err := w.Write(appendDestination([]byte{socksVersion, code, 0}, bound))
	return err
}

func (s *SOCKS5) connect(ctx context.Context, conn net.Conn, to destination) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	far, err := s.host.DialContext(dialing, "tcp", to.String())
	if err != nil {
		s.log.Info("socks connection failed", "to", to.String(), "error", err)
		answer(conn, replyFor(err), netip.AddrPort{})
		return
	}
	defer far.Close()
	bound := netip.AddrPort{}
	if a, ok := far.LocalAddr().(*net.TCPAddr); ok {
		bound = a.AddrPort()
	}
	if answer(conn, replyDone, bound) == nil {
		relay(ctx, conn, far)
	}
}

// replyFor is the reply code that says err.
func replyFor(err error) byte {
	switch {
	case errors.Is(err, ErrNoRoute), errors.Is(err, ErrDown):
		return replyNetUnreachable
	case errors.Is(err, ErrNoSuchHost):
		return replyUnreachable
	case refused(err):
		return replyRefused
	case timedOut(err):
		return replyTimeout
	}
	return replyFailure
}
