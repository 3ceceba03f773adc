package gui

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"github.com/adit-vpn/adit/gui/view"
)

// TestTrayPicture: each state has a picture of its own that the driver can read; one that the system colours is of the
// type by which the driver knows it.
func TestTrayPicture(t *testing.T) {
	test.NewTempApp(t)
	for _, template := range []bool{false, true} {
		seen := map[string]view.Icon{}
		for _, i := range []view.Icon{view.IconDisconnected, view.IconConnecting, view.IconAttention, view.IconConnected, view.IconBlocked, view.IconUnknown} {
			r := trayPicture(i, template)
			if _, is := r.(*theme.ThemedResource); is != template {
				t.Errorf("%s: a template %t, want %t", i, is, template)
			}
			content := r.Content()
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
