package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// manifest is what winget is told of a release: three files ("Create your package manifest", learn.microsoft.com), of the schema's
// version 1.6.0.
type manifest struct {
	version, url string
	installers   []installer
}

type installer struct{ file, arch, sum, code, number string }

const (
	wingetID     = "AditVPN.Adit"
	wingetSchema = "1.6.0"
)

// add takes a package into the manifest, as it is now: signed.
func (m *manifest) add(p product, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[p.arch]
	m.installers = append(m.installers, installer{filepath.Base(path), arch, fmt.Sprintf("%X", h.Sum(nil)), p.code(), p.number})
	return nil
}

// write makes the three files in dir.
func (m *manifest) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	head := func(kind string) string {
		return fmt.Sprintf("# yaml-language-server: $schema=https://aka.ms/winget-manifest.%s.%s.schema.json\n\nPackageIdentifier: %s\nPackageVersion: %q\n",
			kind, wingetSchema, wingetID, m.version)
	}
	tail := func(kind string) string {
		return fmt.Sprintf("ManifestType: %s\nManifestVersion: %s\n", kind, wingetSchema)
	}
	var list strings.Builder
	for _, i := range m.installers {
		fmt.Fprintf(&list, `- Architecture: %s
  InstallerUrl: %s/v%s/%s
  InstallerSha256: %s
  ProductCode: '%s'
  AppsAndFeaturesEntries:
  - DisplayName: Adit
    Publisher: %s
    DisplayVersion: %q
    ProductCode: '%s'
    UpgradeCode: '%s'
`, i.arch, m.url, m.version, i.file, i.sum, i.code, manufacturer, i.number, i.code, upgradeCode)
	}
	files := map[string]string{
		".yaml": head("version") + "DefaultLocale: en-US\n" + tail("version"),
		".installer.yaml": head("installer") + `Platform:
- Windows.Desktop
MinimumOSVersion: 10.0.14393.0
InstallerType: msi
Scope: machine
InstallModes:
- interactive
- silent
- silentWithProgress
UpgradeBehavior: install
ElevationRequirement: elevatesSelf
FileExtensions:
- ovpn
Protocols:
- openvpn
Installers:
` + list.String() + tail("installer"),
		".locale.en-US.yaml": head("defaultLocale") + fmt.Sprintf(`PackageLocale: en-US
Publisher: %s
PackageName: Adit
PackageUrl: %s
License: Apache-2.0
ShortDescription: Open VPN client for AWS Client VPN and every OpenVPN server, with a bundled endpoint
Moniker: adit
Tags:
- aws-client-vpn
- openvpn
- vpn
`, manufacturer, homePage) + tail("defaultLocale"),
	}
	for end, text := range files {
		if err := os.WriteFile(filepath.Join(dir, wingetID+end), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
