//go:build linux

package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"os"
	"path/filepath"
	"text/template"

	"github.com/adit-vpn/adit/endpoint/pki"
	"github.com/adit-vpn/adit/ovpn/wrap"
)

//go:embed openvpn-server.conf
var openvpnServer string

//go:embed endpoint.yaml
var endpointConfig string

//go:embed client.ovpn
var clientProfile string

// keys is what fills the configurations of one scene.
type keys struct {
	Transport, ServerProto, Cipher                     string
	Network                                            string // of the endpoint
	CA, ServerCert, ServerKey, WrapKey                 string // files
	CAText, ClientCertText, ClientKeyText, WrapKeyText string
	Dir                                                string // of the node that reads it
	Remote                                             string // the server's address for one client
}

// newKeys makes certificates and a tls-crypt key below dir.
func newKeys(dir string, sc scene) (*keys, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { // the PKI would make it for its owner alone
		return nil, err
	}
	p, err := pki.Open(filepath.Join(dir, "pki"))
	if err != nil {
		return nil, err
	}
	if err := p.Init(pki.Options{}); err != nil {
		return nil, err
	}
	if _, err := p.Server("server", pki.Options{}); err != nil {
		return nil, err
	}
	if _, err := p.Client("client", pki.Options{}); err != nil {
		return nil, err
	}
	b, err := p.Bundle("client")
	if err != nil {
		return nil, err
	}
	k := &keys{
		Transport: sc.transport, ServerProto: "udp", Cipher: sc.cipher, Network: "kernel",
		CA: p.CAFile(), ServerCert: p.CertFile("server"), ServerKey: p.KeyFile("server"), WrapKey: filepath.Join(dir, "wrap.key"),
		CAText: string(b.CA), ClientCertText: string(b.Cert), ClientKeyText: string(b.Key),
	}
	if k.Transport == "tcp" {
		k.ServerProto = "tcp-server"
	}
	static, err := wrap.GenerateStaticKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	k.WrapKeyText = string(static.Text())
	return k, os.WriteFile(k.WrapKey, []byte(k.WrapKeyText), 0o600)
}

// fill writes a configuration into dir and returns its path.
func (k keys) fill(dir, name, text, remote string) (string, error) {
	k.Dir, k.Remote = dir, remote
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, k); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}

// copyTo makes copies of the files below dir, for a reader without rights.
func (k keys) copyTo(dir string) (*keys, error) {
	for _, file := range []*string{&k.CA, &k.ServerCert, &k.ServerKey, &k.WrapKey} {
		text, err := os.ReadFile(*file)
		if err != nil {
			return nil, err
		}
		*file = filepath.Join(dir, filepath.Base(*file))
		if err := os.WriteFile(*file, text, 0o600); err != nil {
			return nil, err
		}
		if err := os.Chown(*file, nobody, nobody); err != nil {
			return nil, err
		}
	}
	return &k, nil
}
