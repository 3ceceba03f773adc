package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn/profile"
	"github.com/adit-vpn/adit/ovpn/push"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

func (a *app) export() *cobra.Command {
	var client, config string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print a client's profile",
		Long:  "Print a .ovpn. With --client it has that client's certificate and key inside, where the endpoint asks for one; without, people add theirs.",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.configOf(cmd, config)
			if err != nil {
				return err
			}
			text, err := profileText(&cfg, client)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&client, "client", "", "`name` of a client certificate in the PKI")
	cmd.Flags().StringVar(&config, "config", "", "YAML `file` (default: the one in the data directory)")
	return cmd
}

// configOf finds the configuration that a data directory runs with.
func (a *app) configOf(cmd *cobra.Command, file string) (endpoint.Config, error) {
	if file == "" {
		file = filepath.Join(a.data, builtinName)
		if !fileExists(file) {
			return endpoint.Config{}, usagef("name its configuration: --config FILE, or its directory: --data DIR",
				"there is no %s", file)
		}
		return endpoint.LoadConfig(file)
	}
	return a.load(cmd, upFlags{config: file})
}

// codePrompt is AWS's question for a one-time code.
const codePrompt = "Enter MFA code "

// profileText writes a client's profile; name may be empty.
func profileText(cfg *endpoint.Config, name string) ([]byte, error) {
	host, port := cfg.RemoteOrListen()
	e := profile.Export{Host: host, Port: port, Proto: cfg.Transport, Cipher: cfg.Ciphers[0], DataCiphers: cfg.Ciphers,
		Auth: cfg.Legacy.Auth, Compress: cfg.Legacy.Compress, Fragment: cfg.Legacy.Fragment,
		PushPeerInfo: true} // so that a client that returns can be told from others with its certificate
	p, err := pki.Open(filepath.Join(cfg.DataDir(), "pki"))
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
	if e.CA, e.VerifyName, err = serverTrust(p, server); err != nil {
		return nil, fmt.Errorf("%s: %w", serverCert, err)
	}
	mutual, directory, federated := cfg.Methods()
	e.UserPass, e.Federate = directory != nil, federated != nil
	if directory != nil && directory.Radius != nil {
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

// serverTrust is what a client needs to know the server: the CA that it chains
// to (behind the certificate in its own file, else the PKI's) and its name.
func serverTrust(p *pki.PKI, text []byte) (ca []byte, name string, err error) {
	var block *pem.Block
	for {
		block, text = pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		if name == "" {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, "", err
			}
			name = c.Subject.CommonName
			continue
		}
		ca = append(ca, pem.EncodeToMemory(block)...)
	}
	if len(ca) > 0 {
		return ca, name, nil
	}
	ca, err = os.ReadFile(p.CAFile())
	return ca, name, err
}
