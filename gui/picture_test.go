package gui

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/adit-vpn/adit/gui/view"
)

// TestApplicationPicture: the toolkit can read it.
func TestApplicationPicture(t *testing.T) {
	p := applicationPicture()
	if m, err := png.Decode(bytes.NewReader(p.Content())); err != nil || m.Bounds() != image.Rect(0, 0, applicationSize, applicationSize) || p.Name() != "adit.png" {
		t.Errorf("%s: %v", p.Name(), err)
	}
}

// TestTrayPicture: each state has a picture of its own that the tray can read.
func TestTrayPicture(t *testing.T) {
	for _, template := range []bool{false, true} {
		seen := map[string]view.Icon{}
		for _, i := range []view.Icon{view.IconDisconnected, view.IconConnecting, view.IconAttention, view.IconConnected, view.IconBlocked, view.IconUnknown} {
			content := trayPicture(i, template)
			if m, err := png.Decode(bytes.NewReader(content)); err != nil || m.Bounds() != image.Rect(0, 0, traySize, traySize) {
				t.Errorf("%s, template %t: %v", i, template, err)
			}
			if twin, there := seen[string(content)]; there {
				t.Errorf("%s looks like %s", i, twin)
			}
			seen[string(content)] = i
		}
	}
}
