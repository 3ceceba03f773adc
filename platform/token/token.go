// Package token lets a private key stay where it is: on a smart card, in a security module, behind
// PKCS#11. The vendor's module is a program that somebody else wrote, so that it is loaded into a process
// of its own (adit-pkcs11, run by the person who connects); this package is both ends of the pipe to
// it. Key is a crypto.Signer, which is all that TLS needs.
//
// The pipe carries one JSON object per line, a request and its response in turn. The PIN goes that
// way, never in arguments or the environment.
package token

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/adit-vpn/adit/ovpn/push"
)

const (
	maxLine = 256 << 10 // bytes of a request or response
	// endTime is for the helper to close the module when its input ends.
	endTime = 5 * time.Second
)

// The errors of Login and Open that callers act on.
var (
	// ErrPIN: the PIN is wrong. Every try counts, and tokens lock themselves after a few.
	ErrPIN = errors.New("wrong PIN")
	// ErrLocked: too many wrong PINs.
	ErrLocked = errors.New("the token is locked: too many wrong PINs")
	// ErrNotFound: no certificate with a key is what the ID names.
	ErrNotFound = errors.New("no such certificate on a token")
)

// AmbiguousError says that an ID fits several certificates.
type AmbiguousError struct{ IDs []ID }

func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%d certificates on tokens fit; pkcs11-id has to name one", len(e.IDs))
}

// Info is what is known of a certificate on a token before its PIN is.
type Info struct {
	ID          ID     `json:"id"`
	Certificate []byte `json:"certificate"` // DER
	NeedsPIN    bool   `json:"needs_pin"`
	LastTry     bool   `json:"last_try"` // one wrong PIN more locks the token
}

type request struct {
	Op     string `json:"op"` // open, login, sign
	Module string `json:"module,omitempty"`
	ID     string `json:"id,omitempty"`
	PIN    string `json:"pin,omitempty"`

	Scheme string `json:"scheme,omitempty"` // of sign
	Hash   uint   `json:"hash,omitempty"`   // crypto.Hash
	Digest []byte `json:"digest,omitempty"`
}

type response struct {
	Error string   `json:"error,omitempty"`
	Kind  string   `json:"kind,omitempty"` // of Error: pin, locked, not found, ambiguous
	IDs   []string `json:"ids,omitempty"`

	Info      *Info  `json:"info,omitempty"`
	Signature []byte `json:"signature,omitempty"`
}

// The schemes of a signature.
const (
	SchemePKCS1 = "pkcs1"
	SchemePSS   = "pss" // the salt is as long as the hash, as TLS has it
	SchemeECDSA = "ecdsa"
)

// Key is a private key on a token and the helper that speaks to it. Safe for concurrent use; signatures
// are made one at a time.
type Key struct {
	info   Info
	leaf   *x509.Certificate
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	stderr *tail
	stop   context.CancelFunc

	mu     sync.Mutex
	broken error
}

// Open starts the helper program and finds the certificate that id names, on a token that module (a
// shared library) knows; the zero ID means the only one. The helper runs until Close. Errors:
// ErrNotFound, *AmbiguousError, and others in words.
func Open(helper, module string, id ID) (*Key, error) {
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, helper)
	cmd.WaitDelay = endTime
	k := &Key{cmd: cmd, stderr: &tail{}, stop: stop}
	cmd.Stderr = k.stderr
	var err error
	if k.in, err = cmd.StdinPipe(); err != nil {
		stop()
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		stop()
		return nil, err
	}
	k.out = bufio.NewReaderSize(out, maxLine)
	if err := cmd.Start(); err != nil {
		stop()
		return nil, fmt.Errorf("cannot run %s: %w", helper, err)
	}
	r, err := k.call(request{Op: "open", Module: module, ID: id.String()})
	if err == nil && r.Info == nil {
		err = errors.New("the helper did not say what it opened")
	}
	if err == nil {
		k.info = *r.Info
		k.leaf, err = x509.ParseCertificate(k.info.Certificate)
	}
	if err == nil {
		switch k.leaf.PublicKey.(type) {
		case *rsa.PublicKey, *ecdsa.PublicKey:
		default:
			err = fmt.Errorf("the certificate on the token has a key of a kind that is not supported (%v)", k.leaf.PublicKeyAlgorithm)
		}
	}
	if err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Info says what was opened.
func (k *Key) Info() Info { return k.info }

// Certificate is the certificate that goes with the key.
func (k *Key) Certificate() *x509.Certificate { return k.leaf }

// Login gives the PIN. Call it once, also when none is needed: it finds the key. The error may wrap
// ErrPIN or ErrLocked.
func (k *Key) Login(pin push.Secret) error {
	_, err := k.call(request{Op: "login", PIN: pin.Reveal()})
	return err
}

// Public implements crypto.Signer.
func (k *Key) Public() crypto.PublicKey { return k.leaf.PublicKey }

// Sign implements crypto.Signer. It blocks while the token works, or a person confirms there.
func (k *Key) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	r := request{Op: "sign", Digest: digest, Hash: uint(opts.HashFunc())}
	switch k.leaf.PublicKey.(type) {
	case *ecdsa.PublicKey:
		r.Scheme = SchemeECDSA
	default:
		r.Scheme = SchemePKCS1
		if pss, ok := opts.(*rsa.PSSOptions); ok {
			r.Scheme = SchemePSS
			if n := pss.SaltLength; n != rsa.PSSSaltLengthEqualsHash && n != opts.HashFunc().Size() {
				return nil, fmt.Errorf("a salt of %d bytes is not supported", n)
			}
		}
	}
	answer, err := k.call(r)
	if err != nil {
		return nil, fmt.Errorf("the token did not sign: %w", err)
	}
	return answer.Signature, nil
}

// Close ends the helper and waits for it.
func (k *Key) Close() {
	k.in.Close() // the helper ends when its input does
	timer := time.AfterFunc(endTime, k.stop)
	_ = k.cmd.Wait()
	timer.Stop()
	k.stop()
}

// call makes one request. After a failure of the pipe the Key is dead.
func (k *Key) call(r request) (response, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.broken != nil {
		return response{}, k.broken
	}
	died := func(err error) (response, error) {
		k.broken = fmt.Errorf("the program that speaks to the token ended (%w)%s", err, k.stderr.note())
		return response{}, k.broken
	}
	line, err := json.Marshal(r)
	if err != nil {
		return response{}, err
	}
	if _, err := k.in.Write(append(line, '\n')); err != nil {
		return died(err)
	}
	line, err = k.out.ReadSlice('\n')
	if err != nil {
		return died(err)
	}
	var answer response
	if err := json.Unmarshal(line, &answer); err != nil {
		return died(errors.New("its answer cannot be read"))
	}
	return answer, answer.err()
}

func (r response) err() error {
	switch r.Kind {
	case "pin":
		return ErrPIN
	case "locked":
		return ErrLocked
	case "not found":
		return ErrNotFound
	case "ambiguous":
		e := &AmbiguousError{}
		for _, text := range r.IDs {
			id, err := ParseID(text)
			if err != nil {
				return err
			}
			e.IDs = append(e.IDs, id)
		}
		return e
	}
	if r.Error != "" {
		return errors.New(r.Error)
	}
	return nil
}

// tail keeps the end of what the helper, or a module in it, complains about.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const keep = 1 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if n := len(t.text); n > keep {
		t.text = t.text[n-keep:]
	}
	return len(p), nil
}

func (t *tail) note() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line, _, _ := strings.Cut(string(bytes.TrimSpace(t.text)), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}
