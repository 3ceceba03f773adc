package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Wintun's release, as wintun.net publishes it. Its licence lets the file wintun.dll be distributed unchanged, beside software that
// uses it by the functions of wintun.h alone, which is what golang.zx2c4.com/wintun does.
const (
	wintunName = "wintun-0.14.1.zip"
	wintunSum  = "07c256185d6ee3652e09fa55c0b673e2624b565e02c4b9091c79ca7d2f24ef51"
	wintunMax  = 8 << 20 // bytes of one file
)

// wintunFiles are files of the release, unpacked.
type wintunFiles struct{ dll, license string }

// openWintun unpacks from the release what belongs to an architecture into dir. An archive with another checksum is refused.
func openWintun(path, sum, arch, dir string) (*wintunFiles, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	got := sha256.Sum256(content)
	if hex.EncodeToString(got[:]) != sum {
		return nil, fmt.Errorf("%s is not %s as wintun.net published it: its SHA-256 is %x, not %s", path, wintunName, got, sum)
	}
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := &wintunFiles{dll: filepath.Join(dir, "wintun.dll"), license: filepath.Join(dir, "wintun-license.txt")}
	for from, to := range map[string]string{"wintun/bin/" + arch + "/wintun.dll": out.dll, "wintun/LICENSE.txt": out.license} {
		f, err := archive.Open(from)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		text, err := io.ReadAll(io.LimitReader(f, wintunMax))
		f.Close()
		if err == nil {
			err = os.WriteFile(to, text, 0o644)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, from, err)
		}
	}
	return out, nil
}
