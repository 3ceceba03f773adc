package gui

import (
	"image/color"
	"math"
	"testing"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// luminance is WCAG 2.1's relative luminance.
func luminance(c color.Color) float64 {
	n := color.NRGBAModel.Convert(c).(color.NRGBA)
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(n.R) + 0.7152*linear(n.G) + 0.0722*linear(n.B)
}

// over is what a translucent colour looks like on another.
func over(top, under color.Color) color.Color {
	t, u := color.NRGBAModel.Convert(top).(color.NRGBA), color.NRGBAModel.Convert(under).(color.NRGBA)
	mix := func(a, b uint8) uint8 { return uint8((int(a)*int(t.A) + int(b)*(255-int(t.A))) / 255) }
	return color.NRGBA{mix(t.R, u.R), mix(t.G, u.G), mix(t.B, u.B), 255}
}

// TestMenuKeys: what the toolkit makes of the colour for a key in a menu (widget.shortcutColor) can be read.
func TestMenuKeys(t *testing.T) {
	for _, l := range []*look{lookOf("light", "", false), lookOf("dark", "", false)} {
		c := l.Color(theme.ColorNameForeground, 0)
		r, g, b, a := c.RGBA()
		key := color.NRGBA{uint8(r), uint8(g), uint8(b), uint8(uint32(float32(a) * 0.95))}
		if whole := color.NRGBAModel.Convert(c).(color.NRGBA); key.A < 0xf0 || whole.A != 0xff || far(key.RGBA()).from(c.RGBA()) {
			t.Errorf("%v for %v", key, whole)
		}
	}
}

// TestContrast: text can be read on all that it stands on, which WCAG 2.1 (1.4.3) puts at 4.5:1.
func TestContrast(t *testing.T) {
	const (
		back, side, dialog, menu, input, button = theme.ColorNameBackground, theme.ColorNameHeaderBackground, theme.ColorNameOverlayBackground, theme.ColorNameMenuBackground, theme.ColorNameInputBackground, theme.ColorNameButton
	)
	for _, look := range []*look{lookOf("light", "", false), lookOf("dark", "", false)} {
		for _, c := range []struct {
			text fyne.ThemeColorName
			on   []fyne.ThemeColorName
		}{
			{theme.ColorNameForeground, []fyne.ThemeColorName{back, side, dialog, menu, input, button}},
			{theme.ColorNamePlaceHolder, []fyne.ThemeColorName{input}},
			{theme.ColorNameDisabled, []fyne.ThemeColorName{back, side, dialog, menu, theme.ColorNameDisabledButton}},
			{theme.ColorNamePrimary, []fyne.ThemeColorName{back, side, dialog}},
			{theme.ColorNameWarning, []fyne.ThemeColorName{back, side, dialog}},
			{theme.ColorNameError, []fyne.ThemeColorName{back, side, dialog}},
			{theme.ColorNameSuccess, []fyne.ThemeColorName{back, side}},
			{theme.ColorNameForegroundOnPrimary, []fyne.ThemeColorName{theme.ColorNamePrimary}},
			{theme.ColorNameForegroundOnError, []fyne.ThemeColorName{theme.ColorNameError}},
		} {
			for _, on := range c.on {
				ground := look.Color(on, 0)
				for _, shade := range []fyne.ThemeColorName{"", theme.ColorNameSelection} {
					under := ground
					if shade != "" {
						if on != side || c.text != theme.ColorNameForeground && c.text != theme.ColorNameDisabled {
							continue // only the list has a selection
						}
						under = over(look.Color(shade, 0), ground)
					}
					a, b := luminance(look.Color(c.text, 0)), luminance(under)
					if ratio := (max(a, b) + 0.05) / (min(a, b) + 0.05); ratio < 4.5 {
						t.Errorf("%s on %s%s: %.2f:1", c.text, on, shade, ratio)
					}
				}
			}
		}
	}
}
