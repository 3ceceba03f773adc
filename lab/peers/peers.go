//go:build linux

// Package peers starts real servers for tests: an Active Directory (Samba), RADIUS servers
// (FreeRADIUS), and a SAML identity provider (SimpleSAMLphp). All their files are in a
// directory that the caller gives and removes; they listen on the addresses that the caller
// names, here or in a network namespace, and end with the caller's process.
package peers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Place is where a server runs.
type Place struct {
	// Run starts a program; stop ends it and waits.
	Run func(argv ...string) (stop func(), err error)
	// Dial connects from there.
	Dial func(network, address string, timeout time.Duration) (net.Conn, error)
}

// Here is this machine, as the caller sees it.
func Here() Place {
	return Place{Run: run, Dial: net.DialTimeout}
}

// run gives the program a process group of its own; it dies with us.
func run(argv ...string) (func(), error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	return func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(3 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // and those that it left
		<-done
	}, nil
}

// ErrMissing says which program or package a server lacks.
var ErrMissing = errors.New("not installed")

// need finds programs and files of packages.
func need(pkg string, names ...string) error {
	for _, n := range names {
		if filepath.IsAbs(n) {
			if _, err := os.Stat(n); err == nil {
				continue
			}
		} else if _, err := exec.LookPath(n); err == nil {
			continue
		} else if _, err := os.Stat("/usr/sbin/" + n); err == nil {
			continue
		}
		return fmt.Errorf("%w: %s (apt-get install %s)", ErrMissing, n, pkg)
	}
	return nil
}

// program is the path of one that may be outside of PATH.
func program(name string) string {
	if p, err := exec.LookPath(name); err == nil {
		return p
	}
	return "/usr/sbin/" + name
}

// Loopback is an address of loopback on which nobody listens at the given TCP ports, so that test
// programs that run side by side keep out of each other's way.
func Loopback(ports ...int) (netip.Addr, error) {
	for range 100 {
		a := netip.AddrFrom4([4]byte{127, byte(11 + mathrand.IntN(200)), byte(1 + mathrand.IntN(250)), 1})
		free := true
		for _, p := range ports {
			l, err := net.Listen("tcp", netip.AddrPortFrom(a, uint16(p)).String())
			if err != nil {
				free = false
				break
			}
			l.Close()
		}
		if free {
			return a, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("no free loopback address for ports %v", ports)
}

// waitPort waits until something listens.
func waitPort(p Place, a netip.AddrPort, wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; time.Sleep(50 * time.Millisecond) {
		c, err := p.Dial("tcp", a.String(), time.Second)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(deadline) {
			return err
		}
	}
}

// authority makes certificates of servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &authority{cert, key}, err
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// server is certificate and key of a server, PEM.
func (a *authority) server(host string, addr netip.Addr) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}, IPAddresses: []net.IP{addr.AsSlice()},
		NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, k.Public(), a.key)
	if err != nil {
		return nil, nil, err
	}
	plain, err := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain}), err
}
