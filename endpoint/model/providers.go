package model

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/platform/durable"
	"github.com/adit-vpn/adit/saml/sp"
)

// SAML providers that the API brings, as IAM has them: the metadata of identity providers. They are in the state, with copies below the
// data directory, as certificates are.

// The codes of IAM.
const (
	CodeInvalidInput  = "InvalidInput"
	CodeAlreadyExists = "EntityAlreadyExists"
	CodeNoSuchEntity  = "NoSuchEntity"
	CodeConflict      = "DeleteConflict"
	CodeQuota         = "LimitExceeded"
)

const maxProvidersSAML = 100 // IAM's quota for an account

// SAMLProvider is what an ARN of IAM stands for.
type SAMLProvider struct {
	ARN, UUID string
	Metadata  string // XML; empty: the file's own, which cannot be read, or has none
	Created   time.Time
	Tags      []Tag
}

// provider is one as the file keeps it. Nobody changes it.
type provider struct {
	ARN, UUID, Metadata string
	Created             time.Time
	Tags                []Tag
}

// file is where its metadata lies for endpoints: in a directory that its content names, as a certificate's.
func (p *provider) file(cfg *endpoint.Config) (string, error) {
	dir, err := importedDir(cfg)
	sum := sha256.Sum256([]byte(p.ARN + "\n" + p.Metadata))
	return filepath.Join(dir, hex.EncodeToString(sum[:16]), "metadata.xml"), err
}

func (p *provider) write(file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return durable.Write(file, []byte(p.Metadata), 0o600)
}

const maxProviderName = 128

// providerName leaves the length alone: a counted expression costs as much as it counts, at each start of the program.
var providerName = regexp.MustCompile(`^[\w.-]+$`)

// checkMetadata says whether people could sign in with it.
func (m *Model) checkMetadata(text string) error {
	if _, err := sp.ParseMetadata([]byte(text), m.o.Now()); err != nil {
		return errorf(CodeInvalidInput, "The metadata document cannot be used: %v", err)
	}
	return nil
}

// CreateSAMLProvider keeps an identity provider's metadata, and returns its ARN.
func (m *Model) CreateSAMLProvider(ctx context.Context, name, metadata string, tags []Tag) (string, error) {
	if len(name) > maxProviderName || !providerName.MatchString(name) {
		return "", errorf(CodeValidation, "Name must have 1 to 128 letters, digits and . _ -")
	}
	if err := m.checkMetadata(metadata); err != nil {
		return "", err
	}
	if err := checkTags(nil, tags); err != nil {
		return "", errorf(CodeInvalidInput, "%v", err)
	}
	m.write.Lock()
	defer m.write.Unlock()
	before := m.now.Load()
	d := &before.declared
	p := &provider{Metadata: metadata, Created: m.o.Now().UTC(), Tags: tags}
	p.ARN = endpoint.ARN{Partition: "aws", Service: "iam", Account: d.Config.API.Account, Resource: "saml-provider/" + name}.String()
	if _, there := d.samlProvider(p.ARN); there {
		return "", errorf(CodeAlreadyExists, "SAML provider %s already exists", p.ARN)
	}
	if len(d.providers) >= maxProvidersSAML {
		return "", errorf(CodeQuota, "You have reached the limit of %d SAML providers", maxProvidersSAML)
	}
	var id [11]byte
	rand.Read(id[:])
	p.UUID = "ASP" + strings.ToUpper(hex.EncodeToString(id[:]))[:18]
	return p.ARN, m.swapProvider(ctx, before, p.ARN, p)
}

// UpdateSAMLProvider replaces the metadata of one. People who signed in by the old one must sign in again.
func (m *Model) UpdateSAMLProvider(ctx context.Context, arn, metadata string) error {
	if err := m.checkMetadata(metadata); err != nil {
		return err
	}
	m.write.Lock()
	defer m.write.Unlock()
	before := m.now.Load()
	old := before.declared.importedProvider(arn)
	if old == nil {
		return before.declared.noProvider(arn)
	}
	p := *old
	p.Metadata = metadata
	return m.swapProvider(ctx, before, arn, &p)
}

// DeleteSAMLProvider removes one that no endpoint uses.
func (m *Model) DeleteSAMLProvider(ctx context.Context, arn string) error {
	m.write.Lock()
	defer m.write.Unlock()
	before := m.now.Load()
	if before.declared.importedProvider(arn) == nil {
		return before.declared.noProvider(arn)
	}
	if used := before.signInBy(arn); len(used) > 0 {
		return errorf(CodeConflict, "SAML provider %s is in use by %s", arn, strings.Join(used, ", "))
	}
	return m.swapProvider(ctx, before, arn, nil)
}

// SAMLProviders are all that the file declares or that were created.
func (m *Model) SAMLProviders() []SAMLProvider {
	s := m.now.Load()
	var out []SAMLProvider
	for _, f := range s.declared.Config.API.SAMLProviders {
		out = append(out, SAMLProvider{ARN: f.ARN, Metadata: m.text(f.Metadata), Created: m.began})
	}
	for _, p := range s.declared.providers {
		out = append(out, SAMLProvider{ARN: p.ARN, UUID: p.UUID, Metadata: p.Metadata, Created: p.Created, Tags: slices.Clone(p.Tags)})
	}
	return out
}

// swapProvider puts another provider, or none, in the place of one: files, endpoints, disk, everybody. With write held.
func (m *Model) swapProvider(ctx context.Context, before *snapshot, arn string, p *provider) error {
	next := *before
	next.declared.providers = slices.DeleteFunc(slices.Clone(before.declared.providers), func(o *provider) bool { return o.ARN == arn })
	var file, oldFile string
	var err error
	commit := func() error { return m.store.dropProvider(arn) }
	if p != nil {
		next.declared.providers = append(next.declared.providers, p)
		slices.SortFunc(next.declared.providers, func(a, b *provider) int { return strings.Compare(a.ARN, b.ARN) })
		commit = func() error { return m.store.putProvider(p) }
		if file, err = p.file(&next.declared.Config); err == nil {
			err = p.write(file)
		}
		if err != nil {
			m.o.Log.Error("the metadata of a SAML provider cannot be written", "error", err)
			return errorf(CodeInternal, "the metadata cannot be written: %s", said(err))
		}
	}
	if old := before.declared.importedProvider(arn); old != nil {
		if oldFile, err = old.file(&before.declared.Config); err != nil {
			return errorf(CodeInternal, "%v", err)
		}
	}
	err = m.swap(context.WithoutCancel(ctx), before, &next, next.signInBy(arn), CodeInvalidInput, commit)
	unused := oldFile
	if err != nil {
		unused = file
	}
	if unused != "" && file != oldFile {
		if gone := os.RemoveAll(filepath.Dir(unused)); gone != nil {
			m.o.Log.Warn("the metadata of a SAML provider stays behind", "arn", arn, "error", gone)
		}
	}
	return err
}

// signInBy are the endpoints whose people sign in by a provider.
func (s *snapshot) signInBy(arn string) (ids []string) {
	for _, r := range s.sorted() {
		if r.Deleted.IsZero() && slices.ContainsFunc(r.Settings.Authentication, func(a Authentication) bool { return a.SAMLProvider == arn }) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

func (d *Declared) importedProvider(arn string) *provider {
	for _, p := range d.providers {
		if p.ARN == arn {
			return p
		}
	}
	return nil
}

// noProvider is why a provider cannot be changed or deleted.
func (d *Declared) noProvider(arn string) error {
	if _, ok := d.samlProvider(arn); ok {
		return errorf(CodeInvalidInput, "SAML provider %s is declared in %s: change it there, then adit-endpoint reload", arn, d.Config.File)
	}
	return errorf(CodeNoSuchEntity, "SAML provider %s does not exist", arn)
}

// valid says whether it is what the file keeps under an ARN.
func (p *provider) valid(arn string) error {
	if p.ARN != arn || p.Metadata == "" {
		return fmt.Errorf("SAML provider %q cannot be read", arn)
	}
	return nil
}
