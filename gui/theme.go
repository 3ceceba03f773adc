package gui

import (
	"image/color"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"
)

// look is Fyne's theme in Adit's colours, and in light or dark when the person said so.
type look struct {
	fyne.Theme
	fixed   bool
	variant fyne.ThemeVariant
}

// lookOf makes the theme of a setting: "light", "dark", or anything else for the system's.
func lookOf(setting string) *look {
	l := &look{Theme: theme.DefaultTheme()}
	switch setting {
	case "light":
		l.fixed, l.variant = true, theme.VariantLight
	case "dark":
		l.fixed, l.variant = true, theme.VariantDark
	}
	return l
}

// Color implements fyne.Theme.
func (l *look) Color(name fyne.ThemeColorName, variant fyne.ThemeVariant) color.Color {
	if l.fixed {
		variant = l.variant
	}
	dark := variant == theme.VariantDark
	switch name {
	case theme.ColorNamePrimary, theme.ColorNameHyperlink:
		if dark {
			return color.NRGBA{0x5f, 0xb6, 0xd2, 0xff}
		}
		return color.NRGBA{0x0f, 0x6a, 0x86, 0xff}
	case theme.ColorNameForegroundOnPrimary:
		if dark {
			return color.NRGBA{0x0b, 0x1d, 0x24, 0xff}
		}
	case theme.ColorNameDisabled: // still to be read
		if dark {
			return color.NRGBA{0x8b, 0x93, 0x99, 0xff}
		}
		return color.NRGBA{0x7c, 0x84, 0x8a, 0xff}
	case theme.ColorNameWarning:
		if !dark {
			return color.NRGBA{0xa0, 0x5a, 0x00, 0xff}
		}
	case theme.ColorNameError:
		if !dark {
			return color.NRGBA{0xb3, 0x26, 0x1e, 0xff}
		}
	case theme.ColorNameSuccess:
		if dark {
			return color.NRGBA{0x6c, 0xc6, 0x8a, 0xff}
		}
		return color.NRGBA{0x1d, 0x7a, 0x45, 0xff}
	}
	return l.Theme.Color(name, variant)
}
