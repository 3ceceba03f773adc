//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// programs are what the bench builds or copies for itself.
type programs struct {
	root      string // of this module's source
	open      string // directory of our programs where everybody may read
	wireguard string
	classic   string // aditd that does not announce epoch keys
}

// build makes what the chosen contenders need.
func (b *bench) build(ctx context.Context) error {
	out, err := goTool(ctx, "", "list", "-m", "-f", "{{.Dir}}", "github.com/adit-vpn/adit")
	if err != nil {
		return err
	}
	b.programs.root = strings.TrimSpace(out)
	takesPart := func(name string) bool { return slices.Contains(b.o.contenders, name) }
	if takesPart(userspaceName) {
		b.programs.open = filepath.Join(b.dir, "bin")
		if err := os.Mkdir(b.programs.open, 0o755); err != nil {
			return err
		}
		for _, name := range []string{"adit", "adit-userspace", "adit-endpoint"} {
			program, err := os.ReadFile(filepath.Join(b.o.bin, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(b.programs.open, name), program, 0o755); err != nil {
				return err
			}
		}
	}
	if takesPart(wireguardName) {
		b.programs.wireguard = filepath.Join(b.dir, "wireguard-go")
		if _, err := goTool(ctx, b.programs.root, "build", "-o", b.programs.wireguard, "golang.zx2c4.com/wireguard"); err != nil {
			return err
		}
	}
	if takesPart(classicName) && slices.Contains(b.o.only, "stream") {
		b.programs.classic = filepath.Join(b.dir, "aditd-classic")
		return b.buildClassic(ctx)
	}
	return nil
}

// buildClassic builds the service with one constant changed, so that it does not announce epoch
// keys: the product has no such setting, as nobody but this bench wants one. Everything else is the
// shipped source.
func (b *bench) buildClassic(ctx context.Context) error {
	file := filepath.Join(b.programs.root, "ovpn", "negotiate.go")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if text, err = withoutEpoch(text); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	changed, overlay := filepath.Join(b.dir, "negotiate.go"), filepath.Join(b.dir, "overlay.json")
	if err := os.WriteFile(changed, text, 0o644); err != nil {
		return err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{file: changed}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, list, 0o644); err != nil {
		return err
	}
	_, err = goTool(ctx, b.programs.root, "build", "-overlay", overlay, "-ldflags", "-s -w", "-o", b.programs.classic, "./cmd/aditd")
	return err
}

// withoutEpoch takes the bit out of the announcement.
func withoutEpoch(source []byte) ([]byte, error) {
	const is, becomes = "protoEpoch       = 1 << 10\n", "protoEpoch       = 0\n"
	if bytes.Count(source, []byte(is)) != 1 {
		return nil, fmt.Errorf("no line %q", strings.TrimSpace(is))
	}
	return bytes.Replace(source, []byte(is), []byte(becomes), 1), nil
}

// goTool runs go without cgo, as our programs are built.
func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}
