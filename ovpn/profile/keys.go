package profile

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // old keys are encrypted with it
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // PBKDF2's default
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/adit-vpn/adit/ovpn/push"
)

// ErrPassphrase says that a passphrase is wrong.
var ErrPassphrase = errors.New("wrong passphrase")

// maxIterations bounds the work that a file may ask of a key derivation: seconds.
const maxIterations = 10_000_000

// Locked reports that the key, or the PKCS#12 file, needs a passphrase: see Unlock.
func (p *Profile) Locked() bool {
	return p.Key != "" && locked(p.Key.Reveal()) || p.PKCS12 != "" && p.Key == ""
}

func locked(key string) bool {
	for rest := []byte(key); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return false
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
	}
}

// Unlock returns the profile with its key decrypted, in the text as well. The
// error wraps ErrPassphrase when another passphrase may help.
func (p *Profile) Unlock(passphrase push.Secret) (*Profile, error) {
	if !p.Locked() {
		return p, nil
	}
	text := p.source
	if p.PKCS12 != "" {
		key, cert, cas, err := decodePKCS12([]byte(p.PKCS12), passphrase.Reveal())
		switch {
		case errors.Is(err, pkcs12.ErrIncorrectPassword):
			return nil, ErrPassphrase
		case err != nil:
			return nil, fmt.Errorf("pkcs12: %w", err)
		}
		parts, err := encodeParts(key, cert, cas)
		if err != nil {
			return nil, err
		}
		body := "<cert>\n" + parts.cert + "</cert>\n<key>\n" + parts.key + "</key>"
		if tag := "ca"; parts.cas != "" {
			if len(p.CA) > 0 {
				tag = "extra-certs"
			}
			body += "\n<" + tag + ">\n" + parts.cas + "</" + tag + ">"
		}
		text = replaceBlock(text, "pkcs12", body)
	} else {
		key, err := decryptKey(p.Key, passphrase)
		if err != nil {
			return nil, err
		}
		text = replaceBlock(text, "key", "<key>\n"+key.Reveal()+"</key>")
	}
	q, err := Parse(p.Name, []byte(text), nil)
	if err != nil {
		return nil, err
	}
	return q, nil
}

// replaceBlock puts other lines in the place of each <tag>…</tag>.
func replaceBlock(text, tag, by string) string {
	var out []string
	inside := false
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "<"+tag+">":
			inside = true
			out = append(out, by)
		case inside && closes(line, tag):
			inside = false
		case !inside:
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// decryptKey opens a PEM key: PKCS#8 (RFC 8018, PBES2) or OpenSSL's older form
// with DEK-Info. The result is PEM without a passphrase.
func decryptKey(key, passphrase push.Secret) (push.Secret, error) {
	rest := []byte(key)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return "", errors.New("holds no private key: truncated or not PEM?")
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY":
			der, err := decryptPKCS8(block.Bytes, []byte(passphrase))
			if err != nil {
				return "", err
			}
			return push.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
		case strings.HasSuffix(block.Type, "PRIVATE KEY") && block.Headers["DEK-Info"] != "":
			//nolint:staticcheck // keys of this form exist; the passphrase protects nothing that it is used for here
			der, err := x509.DecryptPEMBlock(block, []byte(passphrase))
			if err == nil && !isKey(der) {
				err = x509.IncorrectPasswordError
			}
			switch {
			case errors.Is(err, x509.IncorrectPasswordError):
				return "", ErrPassphrase
			case err != nil:
				return "", fmt.Errorf("encrypted key: %w", err)
			}
			return push.Secret(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der})), nil
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return "", errors.New("the key needs no passphrase")
		}
	}
}

// isKey tells a key from what a wrong passphrase makes of it: the padding fits once in 256 times.
func isKey(der []byte) bool {
	_, err1 := x509.ParsePKCS1PrivateKey(der)
	_, err2 := x509.ParseECPrivateKey(der)
	_, err3 := x509.ParsePKCS8PrivateKey(der)
	return err1 == nil || err2 == nil || err3 == nil
}

// decryptPKCS8 opens an EncryptedPrivateKeyInfo (RFC 5958) and returns the PrivateKeyInfo.
func decryptPKCS8(der, passphrase []byte) ([]byte, error) {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return nil, errors.New("the encrypted key is damaged")
	}
	if oid := info.Algorithm.Algorithm.String(); oid != "1.2.840.113549.1.5.13" {
		return nil, fmt.Errorf("the key is encrypted in an old way (%s): convert it with openssl pkcs8 -topk8 -v2 aes256", oid)
	}
	var params struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if rest, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &params); err != nil || len(rest) > 0 {
		return nil, errors.New("the encrypted key is damaged: PBES2 parameters")
	}
	var newBlock func(key []byte) (cipher.Block, error)
	var size int
	switch oid := params.Cipher.Algorithm.String(); oid {
	case "2.16.840.1.101.3.4.1.2":
		newBlock, size = aes.NewCipher, 16
	case "2.16.840.1.101.3.4.1.22":
		newBlock, size = aes.NewCipher, 24
	case "2.16.840.1.101.3.4.1.42":
		newBlock, size = aes.NewCipher, 32
	case "1.2.840.113549.3.7":
		newBlock, size = des.NewTripleDESCipher, 24
	default:
		return nil, fmt.Errorf("the key is encrypted with an unknown cipher (%s): convert it with openssl pkcs8 -topk8 -v2 aes256", oid)
	}
	var iv []byte
	if _, err := asn1.Unmarshal(params.Cipher.Parameters.FullBytes, &iv); err != nil {
		return nil, errors.New("the encrypted key is damaged: IV")
	}
	key, err := deriveKey(params.KDF, passphrase, size)
	if err != nil {
		return nil, err
	}
	block, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	n := len(info.Data)
	if len(iv) != block.BlockSize() || n == 0 || n%block.BlockSize() != 0 {
		return nil, errors.New("the encrypted key is damaged: length")
	}
	plain := make([]byte, n)
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, info.Data)
	pad := int(plain[n-1])
	if pad == 0 || pad > block.BlockSize() || pad > n || slices.ContainsFunc(plain[n-pad:], func(b byte) bool { return int(b) != pad }) {
		return nil, ErrPassphrase
	}
	if plain = plain[:n-pad]; !isKey(plain) {
		return nil, ErrPassphrase
	}
	return plain, nil
}

// deriveKey is PBKDF2 (RFC 8018) or scrypt (RFC 7914).
func deriveKey(kdf pkix.AlgorithmIdentifier, passphrase []byte, size int) ([]byte, error) {
	switch oid := kdf.Algorithm.String(); oid {
	case "1.2.840.113549.1.5.12":
		var params struct {
			Salt       []byte
			Iterations int
			Size       int                      `asn1:"optional"`
			PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &params); err != nil {
			return nil, errors.New("the encrypted key is damaged: PBKDF2 parameters")
		}
		if params.Iterations < 1 || params.Iterations > maxIterations {
			return nil, fmt.Errorf("the encrypted key wants %d iterations; at most %d are made", params.Iterations, maxIterations)
		}
		var newHash func() hash.Hash
		switch prf := params.PRF.Algorithm.String(); prf {
		case "", "1.2.840.113549.2.7":
			newHash = sha1.New
		case "1.2.840.113549.2.9":
			newHash = sha256.New
		case "1.2.840.113549.2.10":
			newHash = sha512.New384
		case "1.2.840.113549.2.11":
			newHash = sha512.New
		default:
			return nil, fmt.Errorf("the key's passphrase is hashed with an unknown function (%s)", prf)
		}
		return pbkdf2.Key(newHash, string(passphrase), params.Salt, params.Iterations, size)
	case "1.3.6.1.4.1.11591.4.11":
		var params struct {
			Salt    []byte
			N, R, P int
			Size    int `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(kdf.Parameters.FullBytes, &params); err != nil {
			return nil, errors.New("the encrypted key is damaged: scrypt parameters")
		}
		const most = 1 << 20 // N times r: 128 MiB
		if params.N < 2 || params.R < 1 || params.P < 1 || params.N > most || params.R > 64 || params.P > 16 || params.N*params.R > most {
			return nil, errors.New("the encrypted key wants too much memory of scrypt")
		}
		return scrypt.Key(passphrase, params.Salt, params.N, params.R, params.P, size)
	default:
		return nil, fmt.Errorf("the key's passphrase is hashed with an unknown function (%s)", oid)
	}
}

// parts is what a PKCS#12 file holds, in PEM.
type parts struct{ key, cert, cas string }

func encodeParts(key any, cert *x509.Certificate, cas []*x509.Certificate) (parts, error) {
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return parts{}, err
	}
	x := parts{
		key:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		cert: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})),
	}
	for _, ca := range cas {
		x.cas += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}))
	}
	return x, nil
}

// decodePKCS12 returns the key, its certificate and all others. Programs write certificates in any order (Windows exports the
// person's own last), and the library takes the first for the key's; OpenSSL's PKCS12_parse looks for it.
func decodePKCS12(der []byte, passphrase string) (key any, cert *x509.Certificate, others []*x509.Certificate, err error) {
	key, cert, others, err = pkcs12.DecodeChain(der, passphrase)
	if err != nil {
		return nil, nil, nil, err
	}
	all := append([]*x509.Certificate{cert}, others...)
	signer, ok := key.(crypto.Signer)
	if !ok {
		return key, cert, others, nil // whoever uses the key says what is wrong
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return key, cert, others, nil
	}
	own := max(0, slices.IndexFunc(all, func(c *x509.Certificate) bool { return public.Equal(c.PublicKey) }))
	return key, all[own], slices.Delete(slices.Clone(all), own, own+1), nil
}

// openPKCS12 takes CA, certificate and key out of a file without a passphrase.
func (p *parser) openPKCS12(d *Directive, text string) error {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return errors.New("not base64")
	}
	if n := iterations(der, 0); n > maxIterations {
		return fmt.Errorf("not a usable PKCS#12 file: it wants %d iterations", n)
	}
	p.p.PKCS12 = push.Secret(der)
	key, cert, cas, err := decodePKCS12(der, "")
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		d.say(Unsupported, remark(lockedCode))
		return nil
	case err != nil:
		return fmt.Errorf("not a PKCS#12 file: %w", err)
	}
	x, err := encodeParts(key, cert, cas)
	p.p.Cert, p.p.Key, p.bundled = []byte(x.cert), push.Secret(x.key), []byte(x.cas)
	return err
}

// finishPKCS12 makes the file's CAs trusted only when the profile names no others,
// as openvpn does; else they complete the client's chain.
func (p *parser) finishPKCS12() {
	if len(p.p.CA) == 0 {
		p.p.CA = p.bundled
	} else {
		p.p.ExtraCerts = append(p.p.ExtraCerts, p.bundled...)
	}
}

// iterations finds the largest count in the DER of a PKCS#12 file: a number that
// follows a salt (RFC 7292, MacData and pkcs-12PbeParams; RFC 8018, PBKDF2-params).
func iterations(der []byte, depth int) (most int) {
	const deepest = 32
	afterSalt := false
	for len(der) > 0 && depth < deepest {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			return most
		}
		octets := v.Class == asn1.ClassUniversal && v.Tag == asn1.TagOctetString
		switch {
		case v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger && afterSalt:
			n := maxIterations + 1 // also for what does not fit
			if _, err := asn1.Unmarshal(v.FullBytes, &n); err != nil {
				n = maxIterations + 1
			}
			most = max(most, n)
		case v.IsCompound || octets:
			most = max(most, iterations(v.Bytes, depth+1))
		}
		afterSalt = octets
		der = rest
	}
	return most
}
