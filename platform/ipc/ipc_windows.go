package ipc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// Named pipes are done here with few calls of our own: since Go 1.25 an os.File takes part in the runtime's completion port,
// which gives deadlines and a Close that ends a Read. go-winio, the usual library, brings a second completion port for
// the same, and does not run under wine, where this can be tested.

// DefaultPath is where the service listens.
const DefaultPath = defaultPipe

const (
	pipeBuffer = 64 << 10              // bytes each way
	retry      = 10 * time.Millisecond // between two tries at a pipe that is busy
)

// StartCommand tells a person how to start the service: by the system where it is installed, else as the program.
func StartCommand() string {
	const service = "Adit"
	name, err := windows.UTF16PtrFromString(`SYSTEM\CurrentControlSet\Services\` + service)
	var key windows.Handle
	if err == nil && windows.RegOpenKeyEx(windows.HKEY_LOCAL_MACHINE, name, 0, windows.KEY_READ, &key) == nil {
		windows.RegCloseKey(key)
		return "adit service start (as administrator)"
	}
	return "aditd.exe (as administrator)"
}

// locate is the pipe of a path that people name.
func locate(path string) (name string, derived bool, err error) {
	if path == "" {
		return "", false, errors.New("the pipe's name is empty")
	}
	if name, derived, err = pipeName(path); err != nil || !derived {
		return name, derived, err
	}
	whole, err := filepath.Abs(path)
	if err != nil {
		return "", false, err
	}
	return pipeName(whole)
}

// addr is a pipe's name as an address.
type addr string

func (addr) Network() string  { return "pipe" }
func (a addr) String() string { return string(a) }

// pipeListener is a pipe's server end: one instance waits, each accepted connection is one of its own.
type pipeListener struct {
	name string
	sa   *windows.SecurityAttributes
	stop windows.Handle // an event; set: closed

	accepting sync.Mutex          // held by the one Accept that waits, and by Close
	waiting   windows.Handle      // the instance for the next client
	connect   *windows.Overlapped // of waiting, with an event; not on a stack, which moves
	closed    bool

	closing sync.Once
}

// listen makes the first instance, which fails where the name is taken: nobody can have been there before.
func listen(path string, mode os.FileMode) (net.Listener, error) {
	name, _, err := locate(path)
	if err != nil {
		return nil, err
	}
	self, err := tokenOf(windows.GetCurrentProcessToken())
	if err != nil {
		return nil, err
	}
	sd, err := windows.SecurityDescriptorFromString(pipeRights(mode, self.user, self.root()))
	if err != nil {
		return nil, err
	}
	l := &pipeListener{name: name, sa: &windows.SecurityAttributes{SecurityDescriptor: sd}, connect: new(windows.Overlapped)}
	l.sa.Length = uint32(unsafe.Sizeof(*l.sa))
	l.waiting, err = l.instance(windows.FILE_FLAG_FIRST_PIPE_INSTANCE)
	switch {
	case errors.Is(err, windows.ERROR_ACCESS_DENIED), errors.Is(err, windows.ERROR_PIPE_BUSY):
		return nil, ErrInUse
	case err != nil:
		return nil, err
	}
	if l.connect.HEvent, err = windows.CreateEvent(nil, 1, 0, nil); err == nil {
		l.stop, err = windows.CreateEvent(nil, 1, 0, nil)
	}
	if err != nil {
		windows.CloseHandle(l.waiting)
		return nil, err
	}
	return l, nil
}

// instance makes one end for one client.
func (l *pipeListener) instance(flags uint32) (windows.Handle, error) {
	name, err := windows.UTF16PtrFromString(l.name)
	if err != nil {
		return 0, err
	}
	h, err := windows.CreateNamedPipe(name, windows.PIPE_ACCESS_DUPLEX|windows.FILE_FLAG_OVERLAPPED|flags,
		windows.PIPE_TYPE_BYTE|windows.PIPE_READMODE_BYTE|windows.PIPE_WAIT|windows.PIPE_REJECT_REMOTE_CLIENTS,
		windows.PIPE_UNLIMITED_INSTANCES, pipeBuffer, pipeBuffer, 0, l.sa)
	if err != nil {
		return 0, os.NewSyscallError("CreateNamedPipe", err)
	}
	return h, nil
}

// Accept waits for a client. The next instance is there before it returns, so that the name is never free.
func (l *pipeListener) Accept() (net.Conn, error) {
	l.accepting.Lock()
	defer l.accepting.Unlock()
	for {
		if l.closed || l.isStopped(0) {
			return nil, l.fail(net.ErrClosed)
		}
		if err := l.wait(); err != nil {
			if errors.Is(err, windows.ERROR_NO_DATA) { // a client came and went
				windows.DisconnectNamedPipe(l.waiting)
				continue
			}
			return nil, l.fail(err)
		}
		next, err := l.instance(0)
		if err != nil { // no memory for one more: this client has to go
			windows.DisconnectNamedPipe(l.waiting)
			l.isStopped(retry)
			continue
		}
		h := l.waiting
		l.waiting = next
		return newConn(h, l.name, true), nil
	}
}

// wait returns when a client is at the waiting instance, or the listener is closed.
func (l *pipeListener) wait() error {
	if err := windows.ResetEvent(l.connect.HEvent); err != nil {
		return err
	}
	err := windows.ConnectNamedPipe(l.waiting, l.connect)
	switch {
	case err == nil, errors.Is(err, windows.ERROR_PIPE_CONNECTED):
		return nil
	case !errors.Is(err, windows.ERROR_IO_PENDING):
		return err
	}
	_, err = windows.WaitForMultipleObjects([]windows.Handle{l.connect.HEvent, l.stop}, false, windows.INFINITE)
	stopped := err == nil && l.isStopped(0)
	if err != nil || stopped {
		windows.CancelIoEx(l.waiting, l.connect)
	}
	var n uint32
	done := windows.GetOverlappedResult(l.waiting, l.connect, &n, true)
	if stopped {
		return net.ErrClosed
	}
	return errors.Join(err, done)
}

// isStopped waits at most d for the listener's end.
func (l *pipeListener) isStopped(d time.Duration) bool {
	event, err := windows.WaitForSingleObject(l.stop, uint32(d.Milliseconds()))
	return err == nil && event == windows.WAIT_OBJECT_0
}

func (l *pipeListener) fail(err error) error {
	return &net.OpError{Op: "accept", Net: "pipe", Addr: addr(l.name), Err: err}
}

// Close ends a waiting Accept. Accepted connections stay.
func (l *pipeListener) Close() error {
	l.closing.Do(func() {
		windows.SetEvent(l.stop)
		l.accepting.Lock()
		defer l.accepting.Unlock()
		l.closed = true
		windows.CloseHandle(l.waiting)
		windows.CloseHandle(l.connect.HEvent)
		windows.CloseHandle(l.stop)
	})
	return nil
}

func (l *pipeListener) Addr() net.Addr { return addr(l.name) }

// pipeConn is one end of a connection.
type pipeConn struct {
	f      *os.File
	name   addr
	server bool
	spoken atomic.Bool // something was read
}

func newConn(h windows.Handle, name string, server bool) *pipeConn {
	return &pipeConn{f: os.NewFile(uintptr(h), name), name: addr(name), server: server}
}

func (c *pipeConn) Read(b []byte) (int, error) {
	n, err := c.f.Read(b)
	if n > 0 {
		c.spoken.Store(true)
	}
	if errors.Is(err, windows.ERROR_PIPE_NOT_CONNECTED) || errors.Is(err, windows.ERROR_BROKEN_PIPE) {
		err = io.EOF
	}
	return n, c.fail("read", err)
}

func (c *pipeConn) Write(b []byte) (int, error) {
	n, err := c.f.Write(b)
	return n, c.fail("write", err)
}

// fail gives the errors the form of package net's.
func (c *pipeConn) fail(op string, err error) error {
	var at *os.PathError
	switch {
	case err == nil || err == io.EOF:
		return err
	case errors.Is(err, os.ErrClosed):
		err = net.ErrClosed
	case errors.As(err, &at):
		err = at.Err
	}
	return &net.OpError{Op: op, Net: "pipe", Addr: c.name, Err: err}
}

func (c *pipeConn) Close() error                       { return c.fail("close", c.f.Close()) }
func (c *pipeConn) LocalAddr() net.Addr                { return c.name }
func (c *pipeConn) RemoteAddr() net.Addr               { return c.name }
func (c *pipeConn) SetDeadline(t time.Time) error      { return c.fail("set", c.f.SetDeadline(t)) }
func (c *pipeConn) SetReadDeadline(t time.Time) error  { return c.fail("set", c.f.SetReadDeadline(t)) }
func (c *pipeConn) SetWriteDeadline(t time.Time) error { return c.fail("set", c.f.SetWriteDeadline(t)) }

// dial connects so that the server may learn who this is, and may not act in this user's name (SECURITY_IDENTIFICATION).
func dial(ctx context.Context, path string) (net.Conn, error) {
	name, derived, err := locate(path)
	fail := func(err error) error {
		return &net.OpError{Op: "dial", Net: "pipe", Addr: addr(name), Err: err}
	}
	if err != nil {
		return nil, fail(err)
	}
	wide, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, fail(err)
	}
	for {
		h, err := windows.CreateFile(wide, clientRights, 0, nil, windows.OPEN_EXISTING,
			windows.FILE_FLAG_OVERLAPPED|windows.SECURITY_SQOS_PRESENT|windows.SECURITY_IDENTIFICATION, 0)
		if err == nil {
			if err := genuine(h, name, derived); err != nil {
				windows.CloseHandle(h)
				return nil, fail(err)
			}
			return newConn(h, name, false), nil
		}
		if !errors.Is(err, windows.ERROR_PIPE_BUSY) {
			return nil, fail(err)
		}
		// Somebody else took the instance that waited; the next one will be there at once.
		select {
		case <-ctx.Done():
			return nil, fail(ctx.Err())
		case <-time.After(retry):
		}
	}
}

// genuine says whether the pipe was made by who is expected there. The owner of the pipe tells it: a user without rights
// can neither make a pipe that is another's, nor open the service's process to ask who runs it.
func genuine(h windows.Handle, name string, derived bool) error {
	sd, err := windows.GetSecurityInfo(h, windows.SE_KERNEL_OBJECT, windows.OWNER_SECURITY_INFORMATION)
	if err != nil {
		return os.NewSyscallError("GetSecurityInfo", err)
	}
	owner, _, err := sd.Owner()
	if err != nil {
		return os.NewSyscallError("GetSecurityDescriptorOwner", err)
	}
	self, err := tokenOf(windows.GetCurrentProcessToken())
	if err != nil {
		return err
	}
	return believes(name, derived, Account(owner.String()), self.user)
}

// details are what of a peer the system is asked about later.
type details struct{ token token }

// member says whether the peer works at the machine's own screen now.
func (d details) member(string) bool {
	return d.token.atConsole(windows.WTSGetActiveConsoleSessionId())
}

// peerOf takes on the client's identity for a moment (ImpersonateNamedPipeClient), which the system allows once something
// was read, and looks who that is. GetNamedPipeClientProcessId would be there earlier, but is no proof: the process may
// have ended, its number may be another's by now, and the pipe's handle a child's.
func peerOf(c net.Conn) (Peer, error) {
	p, ok := c.(*pipeConn)
	if !ok || !p.server {
		return Peer{}, errors.New("this connection has no identity")
	}
	if !p.spoken.Load() {
		return Peer{}, ErrSilent
	}
	raw, err := p.f.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var (
		who  token
		pid  uint32
		fail error
	)
	err = raw.Control(func(fd uintptr) {
		if windows.GetNamedPipeClientProcessId(windows.Handle(fd), &pid) != nil {
			pid = 0
		}
		who, fail = clientToken(windows.Handle(fd))
	})
	if err = errors.Join(err, fail); err != nil {
		return Peer{}, err
	}
	return Peer{Account: who.user, PID: int(pid), Root: who.root(), Person: who.person(), more: details{who}}, nil
}

// nameOf is the account's name, with its domain. Package os/user would also ask for the full name, and so the domain's
// controller, which nobody may reach before the tunnel is up.
func nameOf(a Account) (string, error) {
	sid, err := windows.StringToSid(string(a))
	if err != nil {
		return "", err
	}
	name, domain, _, err := sid.LookupAccount("")
	if err != nil {
		return "", err
	}
	return domain + `\` + name, nil
}

// clientToken runs on a thread of its own, which ends with the goroutine if it cannot get its own identity back.
func clientToken(pipe windows.Handle) (t token, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = impersonate(pipe); err != nil {
			runtime.UnlockOSThread()
			return
		}
		var h windows.Token
		if err = windows.OpenThreadToken(windows.CurrentThread(), windows.TOKEN_QUERY, true, &h); err == nil {
			t, err = tokenOf(h)
			h.Close()
		} else {
			err = os.NewSyscallError("OpenThreadToken", err)
		}
		if windows.RevertToSelf() == nil {
			runtime.UnlockOSThread()
		}
	}()
	<-done
	return t, err
}

var impersonateNamedPipeClient = windows.NewLazySystemDLL("advapi32.dll").NewProc("ImpersonateNamedPipeClient")

func impersonate(pipe windows.Handle) error {
	if err := impersonateNamedPipeClient.Find(); err != nil {
		return err
	}
	r, _, errno := syscall.SyscallN(impersonateNamedPipeClient.Addr(), uintptr(pipe))
	if r == 0 {
		return os.NewSyscallError("ImpersonateNamedPipeClient", errno)
	}
	return nil
}

// tokenOf reads what of a token counts here.
func tokenOf(h windows.Token) (token, error) {
	user, err := h.GetTokenUser()
	if err != nil {
		return token{}, os.NewSyscallError("GetTokenInformation TokenUser", err)
	}
	t := token{user: Account(user.User.Sid.String())}
	if !t.user.Valid() {
		return token{}, errors.New("the token's account has no identifier")
	}
	groups, err := h.GetTokenGroups()
	if err != nil {
		return token{}, os.NewSyscallError("GetTokenInformation TokenGroups", err)
	}
	for _, g := range groups.AllGroups() {
		if g.Attributes&windows.SE_GROUP_ENABLED != 0 && g.Attributes&windows.SE_GROUP_USE_FOR_DENY_ONLY == 0 {
			t.groups = append(t.groups, g.Sid.String())
		}
	}
	var n uint32
	if err := windows.GetTokenInformation(h, windows.TokenSessionId, (*byte)(unsafe.Pointer(&t.session)), uint32(unsafe.Sizeof(t.session)), &n); err != nil {
		return token{}, os.NewSyscallError("GetTokenInformation TokenSessionId", err)
	}
	return t, nil
}
