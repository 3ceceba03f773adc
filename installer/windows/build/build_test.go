package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/adit-vpn/adit/installer/toolstest"
)

var update = flag.Bool("update", false, "write testdata/tables.txt anew")

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// programs makes a directory of programs as make dist does, all of them the same one, and returns it.
func programs(t *testing.T, program []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, arch := range []string{"amd64", "arm64"} {
		at := filepath.Join(dir, "windows-"+arch)
		if err := os.Mkdir(at, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"adit.exe", "aditd.exe", "adit-pkcs11.exe", "adit-endpoint.exe", "adit-gui.exe", "aws-vpn-client.exe"} {
			if err := os.WriteFile(filepath.Join(at, name), append(bytes.Clone(program), name...), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// standard are the options of most tests.
func standard(t *testing.T, version string) options {
	bin := programs(t, []byte("program "))
	license := filepath.Join(t.TempDir(), "LICENSE")
	if err := os.WriteFile(license, []byte("do what you like\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return options{version: version, bin: bin, gui: filepath.Join(bin, "windows-amd64", "adit-gui.exe"), texts: []string{license},
		url: "https://example.com/adit", kinds: allKinds(), out: t.TempDir(), wintunSum: wintunSum}
}

func make1(t *testing.T, o options) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	if err := build(context.Background(), o); err != nil {
		t.Fatal(err)
	}
}

// TestTables: what msitools reads in the packages is what testdata/tables.txt says, table by table (go test -update writes it).
func TestTables(t *testing.T) {
	toolstest.Needs(t, "msibuild", "gcab", "makensis", "msiinfo")
	o := standard(t, "v1.2.3-rc.1-4-gabc1234")
	make1(t, o)
	var b strings.Builder
	for _, arch := range []string{"amd64", "arm64"} {
		msi := filepath.Join(o.out, "adit-1.2.3-rc.1-4-gabc1234-windows-"+arch+".msi")
		fmt.Fprintf(&b, "# %s\n\n%s\n", arch, output(t, "msiinfo", "suminfo", msi))
		for _, name := range strings.Fields(output(t, "msiinfo", "tables", msi)) {
			if name == "_ForceCodepage" || name == "Icon" || name == "_SummaryInformation" {
				continue
			}
			fmt.Fprintf(&b, "%s\n", output(t, "msiinfo", "export", msi, name))
		}
	}
	got := strings.ReplaceAll(b.String(), "\r", "")
	if *update {
		if err := os.WriteFile("testdata/tables.txt", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/tables.txt")
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i, line := range gotLines {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("line %d is %q", i+1, line)
		}
	}
	if len(gotLines) != len(wantLines) {
		t.Errorf("%d lines, want %d", len(gotLines), len(wantLines))
	}
}

// TestReferences: every name that a table refers to is in the table that it means, and every step of the sequence is one that
// Windows Installer or the package knows.
func TestReferences(t *testing.T) {
	o := standard(t, "1.0.0")
	files, err := payload(filepath.Join(o.bin, "windows-amd64"), o.gui, nil, o.texts)
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]table{}
	for _, x := range (product{version: "1.0.0", number: "1.0.0", arch: "amd64", files: files}).tables("a.cab") {
		if _, twice := tables[x.name]; twice {
			t.Errorf("table %s is there twice", x.name)
		}
		tables[x.name] = x
	}
	column := func(name string) (int, table, string) {
		name, col, _ := strings.Cut(name, ".")
		for i, c := range tables[name].columns {
			if strings.HasPrefix(c, col+" ") {
				return i, tables[name], name
			}
		}
		t.Fatalf("there is no column %s.%s", name, col)
		return 0, table{}, ""
	}
	for from, to := range map[string]string{
		"FeatureComponents.Feature_": "Feature.Feature", "FeatureComponents.Component_": "Component.Component", "File.Component_": "Component.Component",
		"Registry.Component_": "Component.Component", "Shortcut.Component_": "Component.Component", "Shortcut.Directory_": "Directory.Directory",
		"Environment.Component_": "Component.Component", "ServiceInstall.Component_": "Component.Component", "ServiceControl.Component_": "Component.Component",
		"Component.Directory_": "Directory.Directory", "AppSearch.Signature_": "RegLocator.Signature_", "Directory.Directory_Parent": "Directory.Directory",
	} {
		i, a, _ := column(from)
		j, b, _ := column(to)
		for _, row := range a.rows {
			if row[i] != nil && !slices.ContainsFunc(b.rows, func(r []any) bool { return r[j] == row[i] }) {
				t.Errorf("%s: %v is not in %s", from, row[i], to)
			}
		}
	}
	for _, x := range tables {
		seen := map[string]bool{}
		for _, row := range x.rows {
			key := fmt.Sprint(row[:x.keys])
			if seen[key] {
				t.Errorf("%s: the key %s is there twice", x.name, key)
			}
			seen[key] = true
		}
	}
	placed := map[any]bool{}
	for _, row := range tables["FeatureComponents"].rows {
		placed[row[1]] = true
	}
	for _, row := range tables["Component"].rows {
		if !placed[row[0]] {
			t.Errorf("component %v belongs to no feature", row[0])
		}
		key, in := row[5], "File"
		if row[3].(int)&keyIsValue != 0 {
			in = "Registry"
		}
		if !slices.ContainsFunc(tables[in].rows, func(r []any) bool { return r[0] == key && (r[1] == row[0] || r[len(r)-1] == row[0]) }) {
			t.Errorf("component %v: its key %v is none of its own in %s", row[0], key, in)
		}
	}
	before := map[any]int{}
	for _, row := range tables["InstallExecuteSequence"].rows {
		before[row[0]] = number(row[2])
	}
	for _, row := range tables["CustomAction"].rows {
		if before[row[0]] == 0 {
			t.Errorf("nothing calls for the action %v", row[0])
		}
	}
	// Removal undoes what a crash left while the program is there and the service is not; what the service reads is there when it starts.
	for _, order := range [][]string{
		{"StopServices", "CleanUp", "DeleteServices", "RemoveFiles"}, {"StopServices", "RemoveData", "RemoveFiles"},
		{"InstallInitialize", "RemoveExistingProducts", "ProcessComponents", "InstallFiles", "InstallServices", "Profile", "Policy", "StartServices", "InstallFinalize", "Launch"},
		{"InstallServices", "Recovery", "RecoveryOfErrors", "ServiceIdentity", "StartServices"}, {"InstallInitialize", "CloseApp", "RemoveFiles"},
	} {
		for i := range order[1:] {
			if before[order[i]] == 0 || before[order[i]] >= before[order[i+1]] {
				t.Errorf("%s (%d) does not come before %s (%d)", order[i], before[order[i]], order[i+1], before[order[i+1]])
			}
		}
	}
	// What runs as the system by a name that an installer gives is not passed on by Windows Installer for people without rights.
	for _, row := range tables["Property"].rows {
		if row[0] == "SecureCustomProperties" && slices.ContainsFunc(strings.Split(row[1].(string), ";"), func(s string) bool { return s == "PROFILE" || s == "POLICY" }) {
			t.Errorf("%v", row)
		}
	}
	for _, row := range tables["Directory"].rows {
		if row[0] == "INSTALLDIR" {
			t.Error("anybody may say where the service is installed")
		}
	}
}

// TestReproducible: two builds in different places at different times make the same bytes, and another content another package code.
func TestReproducible(t *testing.T) {
	toolstest.Needs(t, "msibuild", "gcab", "makensis", "msiinfo")
	sums := func(dir string) map[string]string {
		out := map[string]string{}
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			name, _ := filepath.Rel(dir, path)
			out[name] = fmt.Sprintf("%x", sha256.Sum256(content))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := standard(t, "1.2.3")
	make1(t, first)
	second := standard(t, "1.2.3")
	make1(t, second)
	a, b := sums(first.out), sums(second.out)
	var names []string
	for name, sum := range a {
		names = append(names, name)
		if b[name] != sum {
			t.Errorf("%s differs", name)
		}
	}
	slices.Sort(names)
	want := []string{"adit-1.2.3-windows-amd64-setup.exe", "adit-1.2.3-windows-amd64.msi", "adit-1.2.3-windows-amd64.zip", "adit-1.2.3-windows-arm64.msi",
		"adit-1.2.3-windows-arm64.zip", "winget/AditVPN.Adit.installer.yaml", "winget/AditVPN.Adit.locale.en-US.yaml", "winget/AditVPN.Adit.yaml"}
	if !slices.Equal(names, want) {
		t.Errorf("packages %q", names)
	}
	code := func(dir string) string {
		text := output(t, "msiinfo", "suminfo", filepath.Join(dir, "adit-1.2.3-windows-amd64.msi"))
		return regexp.MustCompile(`Revision.*`).FindString(text)
	}
	before := code(second.out)
	if err := os.WriteFile(filepath.Join(second.bin, "windows-amd64", "adit.exe"), []byte("another program"), 0o755); err != nil {
		t.Fatal(err)
	}
	make1(t, second)
	if after := code(second.out); before == "" || after == before {
		t.Errorf("%s is still the code of another content: %s", after, before)
	}
}

// TestSigned: a test certificate signs every program of ours in all packages, and the packages; osslsigncode verifies them after
// msiextract has unpacked them.
func TestSigned(t *testing.T) {
	toolstest.Needs(t, "msibuild", "gcab", "makensis", "osslsigncode", "msiextract")
	dir := t.TempDir()
	source := filepath.Join(dir, "main.go")
	if err := os.WriteFile(source, []byte("package main\n\nfunc main() {}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "nothing.exe")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", program, source)
	cmd.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	cert, key := testCertificate(t, dir)
	sign := filepath.Join(dir, "sign")
	text := fmt.Sprintf("#!/bin/sh\nosslsigncode sign -certs '%s' -key '%s' -h sha256 -n Adit -in \"$1\" -out \"$1.signed\" && mv \"$1.signed\" \"$1\"\n", cert, key)
	if err := os.WriteFile(sign, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	o := standard(t, "1.2.3")
	o.bin = filepath.Join(dir, "bin")
	for _, arch := range []string{"amd64", "arm64"} {
		for _, name := range []string{"adit.exe", "aditd.exe", "adit-pkcs11.exe", "adit-endpoint.exe", "adit-gui.exe", "aws-vpn-client.exe"} {
			path := filepath.Join(o.bin, "windows-"+arch, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o755)); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.gui, o.sign = filepath.Join(o.bin, "windows-amd64", "adit-gui.exe"), sign
	make1(t, o)

	unpacked := filepath.Join(dir, "unpacked")
	output(t, "msiextract", "-C", unpacked, filepath.Join(o.out, "adit-1.2.3-windows-amd64.msi"))
	signed := []string{filepath.Join(o.out, "adit-1.2.3-windows-amd64.msi"), filepath.Join(o.out, "adit-1.2.3-windows-arm64.msi"), filepath.Join(o.out, "adit-1.2.3-windows-amd64-setup.exe")}
	err = filepath.WalkDir(unpacked, func(path string, d fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".exe") {
			signed = append(signed, path)
		}
		return err
	})
	if err != nil || len(signed) != 9 {
		t.Fatalf("%v, %q", err, signed)
	}
	verify := func(path string) error {
		out, err := exec.Command("osslsigncode", "verify", "-CAfile", cert, "-in", path).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("Signature verification: ok")) {
			return fmt.Errorf("%s: %v\n%s", path, err, out)
		}
		return nil
	}
	for _, path := range signed {
		if err := verify(path); err != nil {
			t.Error(err)
		}
	}
	if err := verify(program); err == nil {
		t.Error("a program without a signature verifies")
	}
	spoiled := filepath.Join(dir, "spoiled.exe")
	text2, err := os.ReadFile(signed[3])
	if err != nil {
		t.Fatal(err)
	}
	text2[len(text2)/4] ^= 1
	if err := os.WriteFile(spoiled, text2, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := verify(spoiled); err == nil {
		t.Error("a program that was changed verifies")
	}
	// A signer that fails ends the build.
	o.sign = "/bin/false"
	if err := build(context.Background(), o); err == nil {
		t.Error("it goes on where nothing was signed")
	}
}

// testCertificate makes a certificate that signs code, and its key, as files.
func testCertificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Adit test"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}}
	der, err := x509.CreateCertificate(rand.Reader, of, of, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestWintun: the release is unpacked for its architecture where its checksum is right, and refused where it is not.
func TestWintun(t *testing.T) {
	dir := t.TempDir()
	release := filepath.Join(dir, "wintun.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"wintun/bin/amd64/wintun.dll", "wintun/bin/arm64/wintun.dll", "wintun/LICENSE.txt"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "content of %s", name)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(release, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
	got, err := openWintun(release, sum, "arm64", dir)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(got.dll); err != nil || string(text) != "content of wintun/bin/arm64/wintun.dll" {
		t.Errorf("%q, %v", text, err)
	}
	if text, err := os.ReadFile(got.license); err != nil || string(text) != "content of wintun/LICENSE.txt" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := openWintun(release, wintunSum, "amd64", dir); err == nil || !strings.Contains(err.Error(), "is not wintun-0.14.1.zip as wintun.net published it") {
		t.Errorf("another archive: %v", err)
	}
	if _, err := openWintun(release, sum, "mips", dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("another architecture: %v", err)
	}
	// All packages have it, each that of its processor.
	toolstest.Needs(t, "msibuild", "gcab", "makensis", "msiinfo", "msiextract")
	o := standard(t, "1.0.0")
	o.wintun, o.wintunSum = release, sum
	make1(t, o)
	for _, arch := range []string{"amd64", "arm64"} {
		base := filepath.Join(o.out, "adit-1.0.0-windows-"+arch)
		if text := output(t, "msiinfo", "export", base+".msi", "Property"); !strings.Contains(text, "Wintun is included.") {
			t.Errorf("%s: %s", arch, text)
		}
		unpacked := t.TempDir()
		output(t, "msiextract", "-C", unpacked, base+".msi")
		z, err := zip.OpenReader(base + ".zip")
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]string{"wintun.dll": "wintun/bin/" + arch + "/wintun.dll", "wintun-license.txt": "wintun/LICENSE.txt"} {
			var inMSI []byte
			err := filepath.WalkDir(unpacked, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Name() == name {
					inMSI, err = os.ReadFile(path)
				}
				return err
			})
			inZip, e := fs.ReadFile(z, "adit/"+name)
			if err := errors.Join(err, e); err != nil || string(inMSI) != "content of "+want || string(inZip) != string(inMSI) {
				t.Errorf("%s of %s: %q in the MSI, %q in the archive, %v", name, arch, inMSI, inZip, err)
			}
		}
		z.Close()
	}
}

// TestWinget: the manifest has what the schema 1.6.0 asks for, in the forms that it allows (github.com/microsoft/winget-cli,
// schemas/JSON/manifests/v1.6.0).
func TestWinget(t *testing.T) {
	toolstest.Needs(t, "msibuild", "gcab", "makensis", "msiinfo")
	o := standard(t, "v1.2.3")
	make1(t, o)
	read := func(name string) map[string]any {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(o.out, "winget", "AditVPN.Adit"+name))
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := yaml.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		for key, pattern := range map[string]string{"PackageIdentifier": `^AditVPN\.Adit$`, "PackageVersion": `^1\.2\.3$`, "ManifestVersion": `^1\.6\.0$`} {
			if s, _ := m[key].(string); !regexp.MustCompile(pattern).MatchString(s) {
				t.Errorf("%s: %s is %v", name, key, m[key])
			}
		}
		return m
	}
	top, list, words := read(".yaml"), read(".installer.yaml"), read(".locale.en-US.yaml")
	if top["ManifestType"] != "version" || list["ManifestType"] != "installer" || words["ManifestType"] != "defaultLocale" || top["DefaultLocale"] != words["PackageLocale"] {
		t.Errorf("%v\n%v", top, words)
	}
	for _, key := range []string{"Publisher", "PackageName", "License", "ShortDescription"} { // those that a locale must have
		if s, _ := words[key].(string); s == "" || len(s) > 256 {
			t.Errorf("%s: %v", key, words[key])
		}
	}
	installers, _ := list["Installers"].([]any)
	if len(installers) != 2 || list["InstallerType"] != "msi" || list["Scope"] != "machine" {
		t.Fatalf("%v", list)
	}
	for i, arch := range []string{"amd64", "arm64"} {
		one := installers[i].(map[string]any)
		name := "adit-1.2.3-windows-" + arch + ".msi"
		content, err := os.ReadFile(filepath.Join(o.out, name))
		if err != nil {
			t.Fatal(err)
		}
		msi := output(t, "msiinfo", "export", filepath.Join(o.out, name), "Property")
		want := map[string]any{"Architecture": []string{"x64", "arm64"}[i], "InstallerUrl": "https://example.com/adit/v1.2.3/" + name,
			"InstallerSha256": fmt.Sprintf("%X", sha256.Sum256(content))}
		for key, value := range want {
			if one[key] != value {
				t.Errorf("%s: %v, want %v", key, one[key], value)
			}
		}
		code, _ := one["ProductCode"].(string)
		if !regexp.MustCompile(`^\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}$`).MatchString(code) || !strings.Contains(msi, "ProductCode\t"+code) {
			t.Errorf("product code %q is not that of the package", code)
		}
		entry := one["AppsAndFeaturesEntries"].([]any)[0].(map[string]any)
		for key, property := range map[string]string{"DisplayName": "ProductName", "Publisher": "Manufacturer", "DisplayVersion": "ProductVersion", "UpgradeCode": "UpgradeCode"} {
			if !strings.Contains(msi, fmt.Sprintf("%s\t%s", property, entry[key])) {
				t.Errorf("%s: %v is not the package's", key, entry[key])
			}
		}
	}
}

// TestRefused: what cannot be packed ends the build with the name of what is the matter.
func TestRefused(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*options)
		epoch  string
		want   string
	}{
		"version": {func(o *options) { o.version = "one" }, "", `version "one"`},
		"program": {func(o *options) { os.Remove(filepath.Join(o.bin, "windows-amd64", "aditd.exe")) }, "", "aditd.exe"},
		"gui":     {func(o *options) { o.gui = o.bin }, "", "adit-gui.exe: it is not a file"},
		"wintun":  {func(o *options) { o.wintun = o.texts[0] }, "", "is not wintun-0.14.1.zip"},
		"time":    {func(*options) {}, "yesterday", "SOURCE_DATE_EPOCH"},
	} {
		t.Setenv("SOURCE_DATE_EPOCH", c.epoch)
		o := standard(t, "1.0.0")
		c.change(&o)
		if err := build(context.Background(), o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := (table{"T", 1, []string{"A s72"}, [][]any{{"日"}}}).archive(); err == nil {
		t.Error("letters that the archive cannot have pass")
	}
	if _, err := (table{"T", 1, []string{"A s72"}, [][]any{{"a", "b"}}}).archive(); err == nil {
		t.Error("a row with too many columns passes")
	}
}
