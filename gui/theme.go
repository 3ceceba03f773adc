package gui

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"github.com/adit-vpn/adit/gui/font"
)

// textSize is the usual size of text, in the toolkit's units.
const textSize = 14

// look is how everything looks: Adit's colours, light or dark, and a font for the language.
type look struct {
	fyne.Theme
	fixed    bool // light or dark as the person said; else the system's
	variant  fyne.ThemeVariant
	japanese bool
	larger   float32 // 1: the usual size of text
}

// lookOf makes the theme of two settings: "light", "dark", or anything else for the system's; and the size of text.
func lookOf(setting, size string, japanese bool) *look {
	l := &look{Theme: theme.DefaultTheme(), japanese: japanese, larger: 1}
	switch size {
	case "large":
		l.larger = 1.2
	case "largest":
		l.larger = 1.5
	}
	switch setting {
	case "light":
		l.fixed, l.variant = true, theme.VariantLight
	case "dark":
		l.fixed, l.variant = true, theme.VariantDark
	}
	return l
}

// shades are a colour in the light and in the dark, as 0xRRGGBBAA.
type shades struct{ light, dark uint32 }

// colours are calm: grey that leans to the blue of the icon, one colour for what can be pressed, and signal colours only
// for states. Text has a contrast of 4.5:1 or more on everything that it stands on (TestContrast).
var colours = map[fyne.ThemeColorName]shades{
	theme.ColorNameBackground:          {0xffffffff, 0x14181bff},
	theme.ColorNameHeaderBackground:    {0xf2f5f7ff, 0x1a2024ff}, // the side bar
	theme.ColorNameForeground:          {0x1d272dff, 0xe4eaedff},
	theme.ColorNamePlaceHolder:         {0x5d6a72ff, 0x9daab1ff},
	theme.ColorNameDisabled:            {0x55616aff, 0x9ca8afff}, // still to be read
	theme.ColorNameButton:              {0xe6ecefff, 0x283137ff},
	theme.ColorNameDisabledButton:      {0xf0f3f5ff, 0x1f262aff},
	theme.ColorNameInputBackground:     {0xf2f5f7ff, 0x1e252aff},
	theme.ColorNameInputBorder:         {0xc3cdd3ff, 0x3e4a51ff},
	theme.ColorNameMenuBackground:      {0xffffffff, 0x20282dff},
	theme.ColorNameOverlayBackground:   {0xffffffff, 0x1c2327ff},
	theme.ColorNameSeparator:           {0xdbe2e6ff, 0x2b343aff},
	theme.ColorNameShadow:              {0x0f1f2852, 0x00000080},
	theme.ColorNameScrollBar:           {0x1d272d66, 0xe4eaed66},
	theme.ColorNameScrollBarBackground: {0x00000000, 0x00000000},
	theme.ColorNamePrimary:             {0x0f6a86ff, 0x5fb6d2ff},
	theme.ColorNameHyperlink:           {0x0f6a86ff, 0x5fb6d2ff},
	theme.ColorNameForegroundOnPrimary: {0xffffffff, 0x0b1d24ff},
	theme.ColorNameFocus:               {0x0f6a8633, 0x5fb6d240},
	theme.ColorNameSelection:           {0x0f6a8629, 0x5fb6d233},
	theme.ColorNameHover:               {0x0f28320f, 0xffffff0f},
	theme.ColorNamePressed:             {0x0f283219, 0xffffff26},
	theme.ColorNameSuccess:             {0x1d7a45ff, 0x6cc68aff},
	theme.ColorNameForegroundOnSuccess: {0xffffffff, 0x0c2013ff},
	theme.ColorNameWarning:             {0xa05a00ff, 0xf0b35aff},
	theme.ColorNameForegroundOnWarning: {0xffffffff, 0x2a1a00ff},
	theme.ColorNameError:               {0xb3261eff, 0xf2857cff},
	theme.ColorNameForegroundOnError:   {0xffffffff, 0x2b0906ff},
}

// Color implements fyne.Theme.
func (l *look) Color(name fyne.ThemeColorName, variant fyne.ThemeVariant) color.Color {
	if l.fixed {
		variant = l.variant
	}
	c, ours := colours[name]
	if !ours {
		return l.Theme.Color(name, variant)
	}
	x := c.light
	if variant == theme.VariantDark {
		x = c.dark
	}
	c8 := color.NRGBA{R: uint8(x >> 24), G: uint8(x >> 16), B: uint8(x >> 8), A: uint8(x)}
	if name == theme.ColorNameForeground {
		return ink(c8)
	}
	return c8
}

// ink is a colour that the toolkit's menus can fade. For a line's key they take 0.95 of the 16-bit alpha, and then its
// low byte alone: of 0xffff that is 0x32, which cannot be read, of this one 0xff.
type ink color.NRGBA

const inkAlpha = 0xffca

// RGBA implements color.Color.
func (c ink) RGBA() (r, g, b, a uint32) {
	return uint32(c.R) * 0x101, uint32(c.G) * 0x101, uint32(c.B) * 0x101, inkAlpha
}

// Size implements fyne.Theme.
func (l *look) Size(name fyne.ThemeSizeName) float32 {
	switch name {
	case theme.SizeNameText, theme.SizeNameInlineIcon:
		return l.Theme.Size(name) * l.larger
	case theme.SizeNameCaptionText:
		return 12 * l.larger
	case theme.SizeNameSubHeadingText:
		return 17 * l.larger
	case theme.SizeNameHeadingText:
		return 22 * l.larger
	case theme.SizeNameInputRadius, theme.SizeNameSelectionRadius:
		return 6
	}
	return l.Theme.Size(name)
}

// Font implements fyne.Theme. The font for Japanese has no Latin letters: the toolkit takes them from its own, and the
// height of a line with them.
func (l *look) Font(style fyne.TextStyle) fyne.Resource {
	switch {
	case !l.japanese || style.Symbol:
		return l.Theme.Font(style)
	case style.Bold:
		return fyne.NewStaticResource("AditJapanese-Bold.otf", font.JapaneseBold())
	}
	return fyne.NewStaticResource("AditJapanese-Regular.otf", font.Japanese())
}
