package client

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/adit-vpn/adit/client/api"
	"github.com/adit-vpn/adit/ovpn"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/platform"
	"github.com/adit-vpn/adit/platform/udp"
)

// verdict is what a failed attempt means for the connection.
type verdict uint8

const (
	retry   verdict = iota // the next server, or the same again, after a pause
	again                  // retry, but a connection that never came up gives up after one round
	absent                 // retry, but again where somebody waits: no network, no such name
	stop                   // nothing that the machine can do will help
	restart                // the server asked to come back: the same server, soon
	onward                 // the sign-in goes on: the same address, at once; what comes next has asked a person, or cannot repeat itself
	atOnce                 // the same server without a pause: it was not the server that failed
)

// advance says where the next attempt goes, when the server has a say in it.
type advance uint8

const (
	nextAddress advance = iota // of the same server, or else the next server
	stay                       // the same address
	nextServer
)

// failure is how every attempt ends.
type failure struct {
	verdict verdict
	advance advance
	problem *api.Problem
	pause   time.Duration // longer than the usual pause, when the server asked for it
	system  bool          // the operating system refused what it may do the next time
	err     error         // the cause, for the log
}

func (f *failure) Error() string {
	if f.err != nil {
		return f.err.Error()
	}
	return f.problem.Message
}

func (f *failure) Unwrap() error { return f.problem }

func fail(v verdict, code string, args map[string]string, err error) *failure {
	return &failure{verdict: v, problem: api.NewProblem(code, args), err: err}
}

// scene is what an attempt knew when it failed, to put the failure into words.
type scene struct {
	server    string // as messages name it
	proxy     string // the same; empty = none
	transport string
	wrapped   bool // the control channel has a key
	resolved  bool // the server's name has an address
	passed    bool // a proxy let us through; true without one
	answered  bool // anything at all came back, or TCP connected
	heard     bool // an OpenVPN packet came back
	trusted   bool // the TLS handshake is done
	up        bool // the tunnel was up
}

// failureOf words the error that ended a session.
func failureOf(err error, at scene) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	args := map[string]string{"server": at.server, "detail": err.Error(), "transport": at.transport}
	if errors.Is(err, udp.ErrMark) {
		return fail(stop, api.CodeMarkFailed, args, err)
	}
	var p *ovpn.ProtocolError
	if !errors.As(err, &p) {
		if errors.Is(err, errRefused) {
			return fail(retry, api.CodeServerUnreachable, args, err)
		}
		if at.up {
			args["reason"] = "the connection to " + at.server + " was lost: " + err.Error()
			return fail(retry, api.CodeSessionEnded, args, err)
		}
		if !at.answered && udp.NoRoute(err) {
			return fail(absent, api.CodeOffline, map[string]string{"server": cmp.Or(at.proxy, at.server)}, err)
		}
		if f := proxyFailure(err, at); f != nil {
			return f
		}
		if at.answered && at.wrapped {
			return fail(again, api.CodeControlKeyWrong, args, err)
		}
		return fail(retry, api.CodeServerUnreachable, args, err)
	}
	switch p.Cause {
	case ovpn.CauseTLS:
		if f := tlsFailure(p.Err, args); f != nil {
			return f
		}
		return fail(again, api.CodeTLSFailed, args, err)
	case ovpn.CauseNoReply:
		if at.wrapped && at.answered {
			return fail(again, api.CodeControlKeyWrong, args, err)
		}
		args["detail"] = ""
		return fail(retry, api.CodeServerUnreachable, args, err)
	case ovpn.CausePing:
		args["reason"] = at.server + " does not answer any more"
		return fail(retry, api.CodeSessionEnded, args, err)
	case ovpn.CauseTimeout:
		if at.answered && !at.trusted {
			args["detail"] = fellSilent
			return fail(retry, api.CodeTLSFailed, args, err)
		}
		return fail(retry, api.CodeServerUnreachable, args, err)
	case ovpn.CauseUpdate:
		args["reason"] = at.server + " changed what only a new session can take"
		return fail(restart, api.CodeSessionEnded, args, err)
	case ovpn.CauseForgotten:
		return fail(onward, api.CodeSignInExpired, map[string]string{"reason": p.Text}, err)
	case ovpn.CauseCipher:
		return fail(again, api.CodeNoCommonCipher, args, err)
	case ovpn.CauseRefusedPush:
		args["option"] = p.Text
		if p.Err != nil {
			args["detail"] = p.Err.Error()
		} else {
			args["detail"] = ""
		}
		return fail(again, api.CodePushRejected, args, err)
	default:
		return fail(retry, api.CodeProtocolError, args, err)
	}
}

// fellSilent is what a handshake looks like that openvpn's server has refused.
const fellSilent = "the server fell silent, as some do that refuse the certificate of a client"

// lateProblem words an attempt that the caller's time limit has cut off.
func lateProblem(at scene, limit time.Duration) *api.Problem {
	args := map[string]string{"server": at.server, "transport": at.transport, "after": limit.String()}
	switch {
	case !at.resolved:
		args["detail"] = "the resolver did not answer within " + limit.String()
		return api.NewProblem(api.CodeServerNameUnknown, args)
	case at.proxy != "" && !at.passed:
		args["proxy"], args["detail"] = at.proxy, "within "+limit.String()
		return api.NewProblem(api.CodeProxyUnreachable, args)
	case !at.answered:
		args["detail"] = "within " + limit.String()
		return api.NewProblem(api.CodeServerUnreachable, args)
	case !at.heard && at.wrapped:
		return api.NewProblem(api.CodeControlKeyWrong, args)
	case !at.heard:
		args["detail"] = "it took the connection, and said nothing within " + limit.String()
		return api.NewProblem(api.CodeServerUnreachable, args)
	case !at.trusted:
		args["detail"] = fellSilent
		return api.NewProblem(api.CodeTLSFailed, args)
	}
	args["detail"] = "the server has not sent its configuration"
	return api.NewProblem(api.CodeTimeout, args)
}

// certificateAlerts are those by which a server says that it does not want our certificate (RFC 8446, 6.2).
func certificateAlerts() []tls.AlertError { return []tls.AlertError{42, 43, 44, 45, 46, 48, 49, 116} }

// refusal is the text of the server's alert when it is about our certificate.
func refusal(err error) (string, bool) {
	var op *net.OpError // crypto/tls gives alerts a type of their own over QUIC only
	if !errors.As(err, &op) || op.Op != "remote error" {
		return "", false
	}
	text := op.Err.Error()
	for _, a := range certificateAlerts() {
		if text == a.Error() {
			return strings.TrimPrefix(text, "tls: "), true
		}
	}
	return "", false
}

// tlsFailure words what crypto/tls and crypto/x509 say about certificates. It returns nil for the rest.
func tlsFailure(err error, args map[string]string) *failure {
	if err == nil {
		return nil
	}
	var decided *api.Problem
	if errors.As(err, &decided) { // constrain
		return &failure{verdict: again, problem: decided, err: err}
	}
	args["detail"] = strings.TrimPrefix(err.Error(), "tls: ")
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		verify    *profile.VerifyError
	)
	if why, ok := refusal(err); ok {
		args["detail"] = "it says: " + why
		return fail(again, api.CodeOwnCertificateRefused, args, err)
	}
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired && invalid.Cert != nil {
		if p := wrongClock(time.Now(), invalid.Cert, args["server"]); p != nil {
			return &failure{verdict: absent, problem: p, err: err} // it may be set soon, at the start of a machine
		}
		if untimely(time.Now(), invalid.Cert) {
			if errors.As(err, &verify) {
				args["detail"] = verify.Text
			}
			return fail(absent, api.CodeCertificateExpired, args, err)
		}
	}
	switch {
	case errors.As(err, &verify):
		args["detail"] = verify.Text
		return fail(again, verifyCode(verify.Kind), args, err)
	case errors.As(err, &authority):
		return fail(again, api.CodeCertificateUntrusted, args, err)
	case errors.As(err, &host):
		return fail(again, api.CodeCertificateName, args, err)
	case errors.As(err, &invalid):
		switch invalid.Reason {
		case x509.Expired:
			return fail(again, api.CodeCertificateExpired, args, err)
		case x509.IncompatibleUsage:
			return fail(again, api.CodeCertificateUsage, args, err)
		case x509.NameMismatch, x509.CANotAuthorizedForThisName:
			return fail(again, api.CodeCertificateName, args, err)
		default:
			return fail(again, api.CodeCertificateUntrusted, args, err)
		}
	}
	return nil
}

// verifyCode is the Problem for what package profile found in the server's certificate.
func verifyCode(k profile.Kind) string {
	switch k {
	case profile.Name:
		return api.CodeCertificateName
	case profile.Usage:
		return api.CodeCertificateUsage
	case profile.Revoked:
		return api.CodeCertificateRevoked
	case profile.Expired, profile.NotYet:
		return api.CodeCertificateExpired
	}
	return api.CodeCertificateUntrusted
}

// unrelated words an AUTH_FAILED that says nothing about the credentials; nil if it does.
func unrelated(ev ovpn.AuthFailed, at scene) *failure {
	args := map[string]string{"server": at.server, "reason": ev.Reason}
	lower := strings.ToLower(ev.Reason)
	switch {
	case ev.Kind == ovpn.Temporary:
		args["detail"] = cmp.Or(ev.Reason, "it is busy")
		f := fail(retry, api.CodeServerRefused, args, nil)
		f.pause = min(ev.Backoff, time.Hour)
		switch ev.Advance {
		case "no":
			f.advance = stay
		case "remote":
			f.advance = nextServer
		}
		return f
	case strings.Contains(lower, "cipher negotiation failed"):
		args["detail"] = ev.Reason
		return fail(again, api.CodeNoCommonCipher, args, nil)
	case strings.Contains(lower, "no free address"), strings.Contains(lower, "pool exhausted"), strings.Contains(lower, "address pool"):
		return fail(retry, api.CodeAddressPoolEmpty, args, nil)
	case strings.Contains(lower, "cannot check who you are"): // our endpoint's: its directory is away
		args["detail"] = ev.Reason
		return fail(again, api.CodeServerRefused, args, nil)
	}
	return nil
}

// shutdownTime is how long openvpn's server over UDP still runs, and up to 2.5 still takes new
// clients, after the RESTART without a reason that announces its end (multi.c,
// multi_push_restart_schedule_exit), and a second for its timers.
const shutdownTime = 3 * time.Second

// exitFailure words a peer that leaves or sends us away.
func exitFailure(e ovpn.PeerExit, at scene, profile string) *failure {
	reason := e.Reason
	switch e.Kind {
	case "halt":
		if reason == "" {
			reason = at.server + " told this client to stop"
		}
		return fail(stop, api.CodeSessionEnded, map[string]string{"reason": reason, "profile": profile}, nil)
	case "restart":
		if reason == "" {
			reason = at.server + " asks to connect again"
		}
	default:
		if reason == "" {
			reason = at.server + " is going away"
		}
	}
	f := fail(restart, api.CodeSessionEnded, map[string]string{"reason": reason}, nil)
	if e.Kind == "restart" && e.Reason == "" && at.transport == "udp" {
		f.pause = shutdownTime + rand.N(time.Second)
	}
	if e.NextRemote {
		f.advance = nextServer
	}
	return f
}

// hostFailure words what the operating system refused. Code is for what has no word of its own.
func hostFailure(code string, what string, err error) *failure {
	p := hostProblem(code, err)
	return &failure{verdict: stop, system: true, problem: p, err: fmt.Errorf("%s: %w", what, err)}
}

// passes says whether err is what the system refuses a connection that was up, or that the service began by itself: that is taken for something
// that passes, such as a full disk.
func (c *connection) passes(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.system && c.patient()
}

// notForGood has tried again what passes. No server is to blame.
func (c *connection) notForGood(f *failure) *failure {
	if c.passes(f) {
		f.verdict, f.advance = retry, stay
	}
	return f
}

// hostProblem words an error of package platform.
func hostProblem(code string, err error) *api.Problem {
	args := map[string]string{"detail": err.Error()}
	var p *api.Problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, platform.ErrTUNNotPermitted), errors.Is(err, fs.ErrPermission):
		code = api.CodeTUNNotPermitted
	case errors.Is(err, platform.ErrTUNMissing):
		code = api.CodeTUNFailed
	case errors.Is(err, platform.ErrGuard):
		code = api.CodeGuardFailed
	case errors.Is(err, platform.ErrDNS):
		code = api.CodeDNSFailed
	case errors.Is(err, platform.ErrNotSupported):
		return api.NewProblem(api.CodePlatformUnbuilt, map[string]string{"what": "a tunnel of the whole system"})
	}
	return api.NewProblem(code, args)
}
