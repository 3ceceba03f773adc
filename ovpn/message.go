package ovpn

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// record handles the messages in one record, each ended by NUL. What has no end in
// its record is none (openvpn's ssl_pkt.c, extract_command_buffer): half an order is
// not obeyed. A message that is not printable is ignored as a whole (CVE-2024-5594).
func (s *Session) record(k *key, b []byte) error {
	for {
		part, rest, ended := bytes.Cut(b, []byte{0})
		if !ended {
			return nil
		}
		b = rest
		text := strings.TrimRight(string(part), "\r\n")
		if text == "" || strings.ContainsFunc(text, unprintable) {
			continue
		}
		if err := s.message(k, text); err != nil {
			return err
		}
	}
}

func (s *Session) message(k *key, text string) error {
	verb, rest, _ := strings.Cut(text, ",")
	if s.cfg.Role == Server {
		return s.clientMessage(verb, text)
	}
	switch verb {
	case "PUSH_REPLY", "PUSH_UPDATE", "AUTH_PENDING":
		if s.cfg.PointToPoint {
			return nil // an equal peer gives no orders
		}
	}
	switch verb {
	case "PUSH_REPLY":
		return s.pushReply(k, rest)
	case "PUSH_UPDATE":
		return s.pushUpdate(rest)
	case "AUTH_FAILED":
		s.emit(parseAuthFailed(rest))
		return errPeerEnded
	case "AUTH_PENDING":
		s.authPending(rest)
	case "RESTART", "HALT":
		s.emit(parseExit(strings.ToLower(verb), rest))
		return errPeerEnded
	case "EXIT":
		s.emit(PeerExit{Kind: "exit", Reason: rest})
		return errPeerEnded
	default:
		s.emit(Message{Text: text})
	}
	return nil
}

func (s *Session) clientMessage(verb, text string) error {
	switch verb {
	case "PUSH_REQUEST":
		if !s.cfg.PointToPoint {
			s.askPush()
		}
	case "EXIT":
		s.emit(PeerExit{Kind: "exit"})
		return errPeerEnded
	default:
		s.emit(Message{Text: text})
	}
	return nil
}

// parseAuthFailed reads what follows "AUTH_FAILED," (openvpn's push.c
// receive_auth_failed, options_util.c parse_auth_failed_temp).
func parseAuthFailed(rest string) AuthFailed {
	if text, ok := strings.CutPrefix(rest, "SESSION:"); ok {
		return AuthFailed{Kind: SessionExpired, Reason: text}
	}
	if strings.HasPrefix(rest, "CRV1:") {
		return AuthFailed{Kind: Challenge, Reason: rest}
	}
	text, ok := strings.CutPrefix(rest, "TEMP")
	if !ok || text != "" && text[0] != ':' && text[0] != '[' {
		return AuthFailed{Reason: rest}
	}
	f := AuthFailed{Kind: Temporary}
	if flags, after, ok := strings.Cut(text, "]"); ok && strings.HasPrefix(flags, "[") {
		text = after
		for flag := range strings.SplitSeq(flags[1:], ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(flag), " ")
			switch name {
			case "backoff":
				if n, err := strconv.Atoi(value); err == nil && n > 0 {
					f.Backoff = min(time.Duration(n), 24*60*60) * time.Second
				}
			case "advance":
				if value == "no" || value == "addr" || value == "remote" {
					f.Advance = value
				}
			}
		}
	}
	f.Reason, _ = strings.CutPrefix(text, ":")
	return f
}

// parseExit reads what follows RESTART or HALT: flags in brackets, then text
// (openvpn's push.c, server_pushed_signal; other clients read "[P]:text").
func parseExit(kind, rest string) PeerExit {
	e := PeerExit{Kind: kind, Reason: rest}
	if flags, text, ok := strings.Cut(rest, "]"); ok && strings.HasPrefix(flags, "[") {
		e.Reason = strings.TrimPrefix(text, ":")
		e.KeepCredentials = strings.Contains(flags, "P")
		e.NextRemote = strings.Contains(flags, "N")
	}
	return e
}

// authPending gives the server more time: what it asks for, within bounds
// (openvpn's push.c, receive_auth_pending).
func (s *Session) authPending(rest string) {
	timeout := s.cfg.HandWindow
	for word := range strings.SplitSeq(rest, ",") {
		if value, ok := strings.CutPrefix(word, "timeout "); ok {
			if n, err := strconv.ParseUint(value, 10, 31); err == nil && n > 0 {
				timeout = time.Duration(n) * time.Second
			}
		}
	}
	timeout = min(timeout, s.pendingMax())
	if !s.configured && !s.established.IsZero() {
		s.pushBy = later(s.pushBy, s.now.Add(timeout)) // openvpn counts from the handshake, and so gives less
	}
	s.emit(AuthPending{Timeout: timeout})
}

// pendingPatience is how long a client lets a server wait for a person, whatever its own
// renegotiation interval: openvpn's half of that would leave a minute where it is 0, as AWS has it.
const pendingPatience = 10 * time.Minute

// pendingMax is the longest that one authentication may take.
func (s *Session) pendingMax() time.Duration {
	longest := max(s.cfg.HandWindow, s.cfg.Renegotiate/2)
	if s.cfg.Role == Client {
		longest = max(longest, pendingPatience)
	}
	return longest
}

// Respond answers a challenge that came as a Message, "CR_TEXT:…" (client): response goes in
// base64, and with the word in front it must fit in 1024 bytes (openvpn's management-notes.txt,
// cr-response).
func (s *Session) Respond(now time.Time, response string) error {
	if s.cfg.Role != Client {
		return errors.New("ovpn: a server answers no challenge")
	}
	return s.Send(now, "CR_RESPONSE,"+base64.StdEncoding.EncodeToString([]byte(response)))
}
