package model

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/auth"
)

// Connections are the clients of an endpoint.
func (m *Model) Connections(id string) ([]endpoint.Connection, error) {
	if _, _, err := m.known(id); err != nil {
		return nil, err
	}
	return m.rt.Connections(id), nil
}

// Terminate ends a connection, or those of a user: at most five at a time. Exactly one of connection and user is given. For a
// client that is away, and could come back without signing in, none is listed.
func (m *Model) Terminate(_ context.Context, call Call, id, connection, user string) ([]Terminated, error) {
	if _, _, err := m.known(id); err != nil {
		return nil, err
	}
	if (connection == "") == (user == "") {
		return nil, errorf(CodeBadCombination, "Either ConnectionId or Username must be specified, and not both")
	}
	of := 0
	for _, c := range m.rt.Connections(id) {
		if c.Status == endpoint.StatusActive && (c.ID == connection || user != "" && strings.EqualFold(c.Client, user)) {
			of++
		}
	}
	nobody := of == 0 && !m.rt.SignedIn(id, connection, user)
	switch {
	case nobody && connection != "":
		return nil, errorf(CodeConnectionNotFound, "The connection ID '%s' does not exist", connection)
	case nobody:
		return nil, errorf(CodeUserNotFound, "The user '%s' has no active connection to Client VPN endpoint %s", user, id)
	case of > maxTerminate:
		return nil, errorf(CodeTerminateLimit, "The user '%s' has %d connections: at most %d can be terminated at once, so name them by ConnectionId", user, of, maxTerminate)
	case call.DryRun:
		return nil, dryRun()
	}
	var out []Terminated
	for _, c := range m.rt.Terminate(id, connection, user) {
		out = append(out, Terminated{ID: c, Previous: endpoint.StatusActive, Current: endpoint.StatusTerminating})
	}
	return out, nil
}

// Export is a client's profile; clients that have certificates add theirs.
func (m *Model) Export(id string) (string, error) {
	s, r, err := m.known(id)
	if err != nil {
		return "", err
	}
	cfg := s.declared.Config
	if r != nil {
		if !r.Deleted.IsZero() {
			return "", endpointNotFound(id)
		}
		if cfg, err = m.compile(&s.declared, r); err != nil {
			return "", badValue("%s", said(err))
		}
	}
	text, err := m.rt.Export(id, cfg)
	if err != nil {
		return "", errorf(CodeInternal, "the profile cannot be made: %s", said(err))
	}
	return text, nil
}

// ImportCRL replaces the revocation list of an endpoint, and resets its sessions.
func (m *Model) ImportCRL(ctx context.Context, call Call, id, text string) error {
	_, err := m.mutate(ctx, call, "ImportClientVpnClientCertificateRevocationList", []string{id, text}, func(d *draft) (string, error) {
		r, err := d.edit(id)
		if err != nil {
			return "", err
		}
		if text == "" {
			return "", missing("CertificateRevocationList")
		}
		if certificate, _ := passwords(r.Settings.Authentication); !certificate {
			return "", errorf(CodeBadCombination, "Client VPN endpoint %s does not use mutual authentication", id)
		}
		if err := checkList(text); err != nil {
			return "", err
		}
		if err := m.ofCA(d, r, text); err != nil {
			return "", err
		}
		r.CRL, d.crl, d.less = newList(), &text, true
		return "", nil
	})
	return err
}

// ofCA says whether lists are signed by the CA of an endpoint's clients, which an endpoint that does not run would say too late.
// A CA that cannot be read is another matter: that of the start.
func (m *Model) ofCA(d *draft, r *record, text string) error {
	cfg, err := m.compile(&d.declared, r)
	if err != nil {
		return badValue("%s", said(err))
	}
	mutual, _, _ := cfg.Methods()
	ca, err := m.o.ReadFile(cfg.Path(mutual.CA))
	if err != nil {
		return nil
	}
	if _, err := auth.NewMutual(ca, []byte(text), m.o.Now); err != nil {
		return badValue("CertificateRevocationList cannot be used: %v", err)
	}
	return nil
}

// checkList says whether text is revocation lists in PEM, and nothing else.
func checkList(text string) error {
	if len(text) > maxListBytes {
		return errorf(CodeCRLLimit, "The certificate revocation list is larger than %d bytes", maxListBytes)
	}
	entries, lists := 0, 0
	for rest := []byte(strings.TrimSpace(text)); len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "X509 CRL" {
			return badValue("CertificateRevocationList is not a certificate revocation list in PEM")
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return badValue("CertificateRevocationList cannot be read: %v", err)
		}
		lists++
		entries += len(list.RevokedCertificateEntries)
	}
	switch {
	case lists == 0:
		return badValue("CertificateRevocationList is not a certificate revocation list in PEM")
	case entries > maxListEntries:
		return errorf(CodeCRLLimit, "The certificate revocation list has %d entries, and the limit is %d", entries, maxListEntries)
	}
	return nil
}

// CRL is the revocation list in force: the one that ImportCRL brought, or that of the file's endpoint; empty: none.
func (m *Model) CRL(id string) (string, Status, error) {
	s, r, err := m.known(id)
	switch {
	case err != nil:
		return "", Status{}, err
	case r == nil:
		text, err := s.declared.ownList(m.o.ReadFile)
		if err != nil {
			return "", Status{}, errorf(CodeInternal, "%s", said(err))
		}
		return text, Status{Code: Active}, nil
	}
	text, err := m.store.list(id)
	if err != nil {
		return "", Status{}, errorf(CodeInternal, "%s", said(err))
	}
	return text, Status{Code: Active}, nil
}

// ownList is the revocation list of the file's endpoint; empty: none.
func (d *Declared) ownList(readFile func(string) ([]byte, error)) (string, error) {
	mutual, _, _ := d.Config.Methods()
	if mutual == nil {
		return "", nil
	}
	if mutual.CRL != "" {
		text, err := readFile(d.Config.Path(mutual.CRL))
		return string(text), err
	}
	text, err := readFile(d.own("crl.pem")) // which need not exist
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return string(text), err
}

// Tags are those of all endpoints, by id.
func (m *Model) Tags() map[string][]Tag {
	s, out := m.now.Load(), map[string][]Tag{}
	for _, r := range s.records {
		if e, ok := m.show(s, r); ok && len(e.Tags) > 0 {
			out[r.ID] = e.Tags
		}
	}
	return out
}

// SetTags adds tags to endpoints, or replaces their values: to all of them, or to none.
func (m *Model) SetTags(ctx context.Context, call Call, ids []string, tags []Tag) error {
	return m.tag(ctx, call, "CreateTags", ids, tags, func(r *record) error {
		if err := checkTags(r.Tags, tags); err != nil {
			return err
		}
		r.Tags = putTags(r.Tags, tags)
		return nil
	})
}

// TagMatch is a tag that is to go: one of a key, whatever its value if that is nil.
type TagMatch struct {
	Key   string
	Value *string
}

// DeleteTags removes tags, and all of them when none is named.
func (m *Model) DeleteTags(ctx context.Context, call Call, ids []string, tags []TagMatch) error {
	return m.tag(ctx, call, "DeleteTags", ids, tags, func(r *record) error {
		r.Tags = slices.DeleteFunc(r.Tags, func(t Tag) bool {
			return len(tags) == 0 || slices.ContainsFunc(tags, func(x TagMatch) bool { return x.Key == t.Key && (x.Value == nil || *x.Value == t.Value) })
		})
		return nil
	})
}

// tag changes the tags of endpoints.
func (m *Model) tag(ctx context.Context, call Call, action string, ids []string, tags any, do func(r *record) error) error {
	if len(ids) == 0 {
		return missing("ResourceId")
	}
	_, err := m.mutate(ctx, call, action, []any{ids, tags}, func(d *draft) (string, error) {
		for _, id := range ids {
			if !strings.HasPrefix(id, endpointPrefix) {
				return "", errorf(CodeIDNotFound, "The ID '%s' is not valid: only Client VPN endpoints have tags here", id)
			}
			r, err := d.edit(id)
			if err != nil {
				return "", err
			}
			if err := do(r); err != nil {
				return "", err
			}
		}
		return "", nil
	})
	return err
}

// checkTags says whether tags may be added.
func checkTags(there, more []Tag) error {
	for _, t := range more {
		switch {
		case t.Key == "" || !utf8.ValidString(t.Key) || utf8.RuneCountInString(t.Key) > 127:
			return badValue("Tag keys must have between 1 and 127 characters")
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return badValue("Tag keys starting with 'aws:' are reserved for internal use")
		case !utf8.ValidString(t.Value) || utf8.RuneCountInString(t.Value) > 256:
			return badValue("Tag values must have at most 256 characters")
		}
	}
	if len(putTags(there, more)) > maxTags {
		return errorf(CodeTagLimit, "A resource has at most %d tags", maxTags)
	}
	return nil
}

// putTags adds tags, or replaces values.
func putTags(there, more []Tag) []Tag {
	out := slices.Clone(there)
	for _, t := range more {
		if i := slices.IndexFunc(out, func(x Tag) bool { return x.Key == t.Key }); i >= 0 {
			out[i] = t
		} else {
			out = append(out, t)
		}
	}
	return out
}
