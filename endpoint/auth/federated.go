package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/adit-vpn/adit/ovpn/challenge"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/saml/sp"
)

// Federated signs people in through a SAML identity provider, as AWS Client VPN does:
//
//  1. the client's first password says that it awaits the answer (ACS::35001); it is
//     challenged with the provider's address and a request in it;
//  2. a browser takes the provider's answer to the client;
//  3. the password of the next session is the challenge's state and that answer.
//
// Nothing is stored of requests that are not answered: the state carries when it was made, and a
// MAC by which only this endpoint can have made it; the request's id follows from it. So nobody can
// fill a memory or push others out of it. A request is answered once: whoever repeats the
// answer is refused, and uses the endpoint's tokens instead.
type Federated struct {
	provider *sp.Provider
	signing  []*x509.Certificate // the provider's
	now      func() time.Time
	key      [sha256.Size]byte
}

// SignInTime is how long a person has for the browser's part.
const SignInTime = 5 * time.Minute

// NewFederated makes the method for one identity provider. Its challenges are worth nothing
// to another Federated.
func NewFederated(idp sp.Metadata, now func() time.Time) *Federated {
	f := &Federated{provider: sp.New(idp, now), signing: idp.Signing, now: now}
	rand.Read(f.key[:])
	return f
}

// Certificate is the identity provider's: of several the one that lasts longest.
func (f *Federated) Certificate() *x509.Certificate {
	return slices.MaxFunc(f.signing, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
}

// maxReason is the most that a refusal adds to the log, in bytes.
const maxReason = 500

// helloPrefix begins the first password; the client's port follows.
const helloPrefix = "ACS::"

// awsRefusal is what AWS tells clients, whatever the cause.
const awsRefusal = "Invalid username or password"

// Check implements Method. The user name is not looked at: AWS's clients say N/A.
func (f *Federated) Check(_ context.Context, c Credentials) (Outcome, error) {
	refuse := func(reason string) (Outcome, error) {
		if len(reason) > maxReason { // it quotes what the client sent
			reason = strings.ToValidUTF8(reason[:maxReason], "") + "…"
		}
		return Denied{Reason: reason, Tell: awsRefusal}, nil
	}
	if port, ok := strings.CutPrefix(c.Password.Reveal(), helloPrefix); ok {
		if port != strconv.Itoa(challenge.AWSPort) {
			return refuse(fmt.Sprintf("the client awaits the identity provider's answer on port %.8q; it goes to %d", port, challenge.AWSPort))
		}
		return Challenge{Text: f.ask()}, nil
	}
	state, answer, ok := challenge.ParseAnswer(c.Password)
	if !ok {
		return refuse("the password is neither the beginning of a sign-in in the browser nor its answer")
	}
	request, err := f.request(state)
	if err != nil {
		return refuse(err.Error())
	}
	text, err := decodeResponse(answer)
	if err != nil {
		return refuse("SAML response: " + err.Error())
	}
	who, err := f.provider.Check(text, request)
	if err != nil {
		return refuse("SAML response: " + err.Error())
	}
	return Accepted{Identity{Username: who.Name, Groups: who.Groups}}, nil
}

// ask makes a challenge in AWS's form: the state is instance-N/digits/uuid.
func (f *Federated) ask() string {
	n, err := rand.Int(rand.Reader, new(big.Int).Exp(big.NewInt(10), big.NewInt(randomDigits), nil))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	digits := fmt.Sprintf("%0*d%0*d", timeDigits, f.now().Unix(), randomDigits, n)
	state := instance + digits + "/" + f.uuid(digits)
	d := challenge.Dynamic{Response: true, State: state, Username: challenge.AWSUser, Text: f.provider.URL(f.requestOf(state, digits), state)}
	return d.AWS()
}

const (
	instance     = "instance-1/"
	timeDigits   = 11 // of Unix seconds
	randomDigits = 20
)

// uuid is the MAC of a state's digits, in the form of a UUID.
func (f *Federated) uuid(digits string) string {
	b := f.mac("state", digits)[:16]
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (f *Federated) mac(purpose, text string) []byte {
	m := hmac.New(sha256.New, f.key[:])
	m.Write([]byte(purpose + "\x00" + text))
	return m.Sum(nil)
}

// requestOf is the request that belongs to a state of ours.
func (f *Federated) requestOf(state, digits string) sp.Request {
	made, err := strconv.ParseInt(digits[:timeDigits], 10, 64)
	if err != nil {
		panic(err) // digits are ours
	}
	return sp.Request{ID: "_" + hex.EncodeToString(f.mac("request", state)[:20]), Expires: time.Unix(made, 0).Add(SignInTime)}
}

// What can be wrong with a state.
var (
	errForeignState = errors.New("the answer is to a question that this endpoint did not ask, or asked before it was started or reloaded")
	errLate         = fmt.Errorf("the answer came more than %s after the question", SignInTime)
)

// request checks a state.
func (f *Federated) request(state string) (sp.Request, error) {
	rest, _ := strings.CutPrefix(state, instance)
	digits, id, _ := strings.Cut(rest, "/")
	if len(digits) != timeDigits+randomDigits || !hmac.Equal([]byte(state), []byte(instance+digits+"/"+f.uuid(digits))) || id == "" {
		return sp.Request{}, errForeignState
	}
	r := f.requestOf(state, digits)
	if !f.now().Before(r.Expires) {
		return sp.Request{}, errLate
	}
	return r, nil
}

// decodeResponse reads a SAMLResponse as clients send it: base64, as it came from the browser's
// form or encoded for a URL.
func decodeResponse(answer push.Secret) ([]byte, error) {
	text := answer.Reveal()
	if strings.Contains(text, "%") {
		plain, err := url.PathUnescape(text) // + stays what it is
		if err != nil {
			return nil, errors.New("it is not encoded as in a URL")
		}
		text = plain
	}
	text = strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	if base64.RawStdEncoding.DecodedLen(len(text)) > sp.MaxResponse {
		return nil, fmt.Errorf("it is larger than %d bytes", sp.MaxResponse)
	}
	b, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64")
	}
	return b, nil
}
