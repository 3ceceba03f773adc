package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

func (a *app) export() *cobra.Command {
	var client, config, id string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print a client's profile",
		Long: `Print a .ovpn that fits the endpoint which runs on --data, or on the data directory of --config. When
none runs there, it fits the file of --config, or else adit-endpoint.yaml in --data. With --client it has
that client's certificate and key inside, where the endpoint asks for one; without, people add theirs.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.configOf(cmd, config)
			if err != nil {
				return err
			}
			dir := cfg.DataDir()
			if id != "" { // an endpoint of the API uses the PKI of the process
				if cfg, err = endpoint.NewControlClient(dir).Config(cmd.Context(), id); err != nil {
					return err
				}
			}
			if len(cfg.Listen) == 0 {
				return usagef("adit-endpoint export --endpoint ID, as aws ec2 describe-client-vpn-endpoints lists them", "%s declares no endpoint: all are the API's", cfg.File)
			}
			text, err := profileText(&cfg, dir, client)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "`name` of a client certificate in the PKI")
	cmd.Flags().StringVar(&config, "config", "", "YAML `file` of the endpoint")
	cmd.Flags().StringVar(&id, "endpoint", "", "`id` of an endpoint that the API has made")
	return cmd
}

// configOf is what the endpoint of a data directory runs with, or would.
func (a *app) configOf(cmd *cobra.Command, file string) (endpoint.Config, error) {
	dir := a.data
	var written endpoint.Config
	if file != "" {
		var err error
		if written, err = a.load(cmd, upFlags{config: file}); err != nil {
			return written, err
		}
		dir = written.DataDir()
	}
	running, err := endpoint.NewControlClient(dir).Config(cmd.Context(), "")
	switch {
	case !errors.Is(err, endpoint.ErrNotRunning):
		return running, err
	case file != "":
		return written, nil
	}
	if file = filepath.Join(dir, builtinName); !fileExists(file) {
		return endpoint.Config{}, usagef("name its configuration: --config FILE, or its directory: --data DIR",
			"no endpoint runs on %s, and there is no %s", dir, file)
	}
	cfg, err := endpoint.LoadConfig(file)
	if err != nil {
		return cfg, err
	}
	return cfg, cfg.CompleteAPI()
}

// codePrompt is AWS's question for a one-time code.
const codePrompt = "Enter MFA code "

// profileText writes a client's profile; name, of a certificate in the PKI of a data directory, may be empty.
func profileText(cfg *endpoint.Config, dir, name string) ([]byte, error) {
	host, port := cfg.RemoteOrListen()
	e := profile.Export{Host: host, Port: port, Proto: cfg.Transport, Cipher: cfg.Ciphers[0], DataCiphers: cfg.NamedCiphers(),
		Auth: cfg.Legacy.Auth, Compress: cfg.Legacy.Compress, Fragment: cfg.Legacy.Fragment,
		PushPeerInfo: true} // so that a client that returns can be told from others with its certificate
	p, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	serverCert := cfg.Path(cfg.ServerCertificate.Cert)
	if serverCert == "" {
		serverCert = p.CertFile(endpoint.ServerName)
	}
	server, err := os.ReadFile(serverCert)
	if err != nil {
		return nil, err
	}
	if e.CA, e.VerifyName, err = serverTrust(cfg, p, server); err != nil {
		return nil, fmt.Errorf("%s: %w", serverCert, err)
	}
	mutual, directory, federated := cfg.Methods()
	e.UserPass, e.Federate = directory != nil, federated != nil
	for _, t := range cfg.DevicePosture {
		e.DevicePosture = append(e.DevicePosture, t.Type)
	}
	code, err := cfg.AsksForCode(endpoint.Leaves{ReadFile: os.ReadFile, Now: time.Now})
	if err != nil {
		return nil, err
	}
	if code {
		e.StaticChallenge = codePrompt
	}
	if name != "" && mutual != nil {
		b, err := p.Bundle(name)
		if err != nil {
			return nil, err
		}
		e.Cert, e.Key = b.Cert, b.Key
	}
	if err := exportWrap(cfg, p, name, &e); err != nil {
		return nil, err
	}
	return e.Append(nil), nil
}

// exportWrap puts the control channel's key into a profile: with tls-crypt-v2 the
// client's own, or one that is not kept when nobody is named.
func exportWrap(cfg *endpoint.Config, p *pki.PKI, name string, e *profile.Export) error {
	w := cfg.ControlWrap
	switch w.Type {
	case "none":
		return nil
	case "tls-crypt-v2":
		server, err := wrapServer(cfg, p)
		if err != nil {
			return err
		}
		key, err := p.WrapClient(name, server, w.KeyAge())
		e.TLSCryptV2 = push.Secret(key.Text())
		return err
	}
	key, err := os.ReadFile(cfg.Path(w.Key))
	if err != nil {
		return err
	}
	if w.Type == "tls-auth" {
		e.TLSAuth = push.Secret(key)
	} else {
		e.TLSCrypt = push.Secret(key)
	}
	return nil
}

// wrapServer is the tls-crypt-v2 key that an endpoint uses: its own file, or the
// PKI's, which is made when there is none.
func wrapServer(cfg *endpoint.Config, p *pki.PKI) (wrap.ServerKey, error) {
	if cfg.ControlWrap.Key == "" {
		return p.WrapServer()
	}
	text, err := os.ReadFile(cfg.Path(cfg.ControlWrap.Key))
	if err != nil {
		return wrap.ServerKey{}, err
	}
	key, err := wrap.ParseServerKey(text)
	if err != nil {
		return key, fmt.Errorf("%s: %w", cfg.Path(cfg.ControlWrap.Key), err)
	}
	return key, nil
}

// serverTrust is what a client needs to know the server: the CA behind the certificate in its own
// file, or the one that signed it, of the PKI or of the clients; and its name.
func serverTrust(cfg *endpoint.Config, p *pki.PKI, text []byte) (ca []byte, name string, err error) {
	leaf, rest := nextCertificate(text)
	if leaf == nil {
		return nil, "", errors.New("no certificate in it")
	}
	if chain := cfg.Path(cfg.ServerCertificate.Chain); chain != "" {
		if rest, err = os.ReadFile(chain); err != nil {
			return nil, "", err
		}
	}
	own, err := x509.ParseCertificate(leaf.Bytes)
	if err != nil {
		return nil, "", err
	}
	name = own.Subject.CommonName
	for {
		var block *pem.Block
		if block, rest = nextCertificate(rest); block == nil {
			break
		}
		ca = append(ca, pem.EncodeToMemory(block)...)
	}
	if len(ca) > 0 {
		return ca, name, nil
	}
	files := []string{p.CAFile()}
	for _, a := range cfg.Authentication {
		if a.Mutual != nil && a.Mutual.CA != "" {
			files = append(files, cfg.Path(a.Mutual.CA))
		}
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // the other one, or else the error below
		}
		for block, rest := nextCertificate(text); block != nil; block, rest = nextCertificate(rest) {
			if c, err := x509.ParseCertificate(block.Bytes); err == nil && own.CheckSignatureFrom(c) == nil {
				return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), name, nil
			}
		}
	}
	return nil, "", fmt.Errorf("the CA that signed it is neither behind it nor in %s: append it to the file", strings.Join(files, " or "))
}

// nextCertificate is the first certificate in text, nil for none, and what follows it.
func nextCertificate(text []byte) (block *pem.Block, rest []byte) {
	for {
		if block, text = pem.Decode(text); block == nil || block.Type == "CERTIFICATE" {
			return block, text
		}
	}
}
