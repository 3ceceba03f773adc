package token

import (
	"bufio"
	"crypto"
	"encoding/json"
	"errors"
	"io"

	"github.com/adit-vpn/adit/ovpn/push"
)

// Module is a loaded PKCS#11 module. Serve calls it from one goroutine.
type Module interface {
	// Find opens the certificate that an ID names; see Open for the errors.
	Find(id ID) (Info, error)
	// Login gives the PIN and finds the private key of what Find opened.
	Login(pin push.Secret) error
	// Sign signs a digest with it. The result is what TLS wants: for ECDSA, ASN.1.
	Sign(scheme string, hash crypto.Hash, digest []byte) ([]byte, error)
	Close()
}

// Serve answers requests until in ends. load opens the module that the first one names.
func Serve(in io.Reader, out io.Writer, load func(path string) (Module, error)) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	var module Module
	defer func() {
		if module != nil {
			module.Close()
		}
	}()
	for lines.Scan() {
		var r request
		var answer response
		err := json.Unmarshal(lines.Bytes(), &r)
		switch {
		case err != nil:
			err = errors.New("the request cannot be read")
		case r.Op == "open" && module == nil:
			var id ID
			if id, err = ParseID(r.ID); err != nil {
				break
			}
			if module, err = load(r.Module); err != nil {
				module = nil
				break
			}
			var info Info
			if info, err = module.Find(id); err == nil {
				answer.Info = &info
			}
		case module == nil:
			err = errors.New("no module is open")
		case r.Op == "login":
			err = module.Login(push.Secret(r.PIN))
		case r.Op == "sign":
			hash := crypto.Hash(r.Hash)
			if !hash.Available() || len(r.Digest) != hash.Size() {
				err = errors.New("the digest is not of its hash")
				break
			}
			answer.Signature, err = module.Sign(r.Scheme, hash, r.Digest)
		default:
			err = errors.New("the request is not known")
		}
		if err != nil {
			answer = response{Error: err.Error()}
			var several *AmbiguousError
			switch {
			case errors.Is(err, ErrPIN):
				answer.Kind = "pin"
			case errors.Is(err, ErrLocked):
				answer.Kind = "locked"
			case errors.Is(err, ErrNotFound):
				answer.Kind = "not found"
			case errors.As(err, &several):
				answer.Kind = "ambiguous"
				for _, id := range several.IDs {
					answer.IDs = append(answer.IDs, id.String())
				}
			}
		}
		if err := json.NewEncoder(out).Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}
