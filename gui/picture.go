package gui

import (
	"image"
	"image/color"
	"runtime"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/canvas"
	"fyne.io/fyne/v2/theme"

	"github.com/adit-vpn/adit/gui/icon"
	"github.com/adit-vpn/adit/gui/view"
)

// kindOf is the picture of a state.
func kindOf(i view.Icon) icon.Kind {
	switch i {
	case view.IconConnecting:
		return icon.Connecting
	case view.IconAttention:
		return icon.SignIn
	case view.IconConnected:
		return icon.Connected
	case view.IconBlocked:
		return icon.Blocked
	case view.IconUnknown:
		return icon.Problem
	}
	return icon.Disconnected
}

// pictureSize is in pixels: enough for a large picture on a dense screen.
const pictureSize = 96

// picture shows a state in the theme's colours. The shape tells it; the colour only helps.
type picture struct {
	*canvas.Image
	icon view.Icon
	ink  color.NRGBA
}

func newPicture(size float32) *picture {
	p := &picture{Image: &canvas.Image{FillMode: canvas.ImageFillContain}}
	p.SetMinSize(fyne.NewSquareSize(size))
	return p
}

// show draws only what is new.
func (p *picture) show(i view.Icon, th fyne.Theme) {
	ink := inkOf(i, th)
	if p.Image.Image != nil && p.icon == i && p.ink == ink {
		return
	}
	p.icon, p.ink = i, ink
	p.Image.Image = icon.Draw(kindOf(i), pictureSize, ink)
	p.Refresh()
}

func inkOf(i view.Icon, th fyne.Theme) color.NRGBA {
	name := theme.ColorNameForeground
	switch i {
	case view.IconConnected:
		name = theme.ColorNameSuccess
	case view.IconAttention, view.IconConnecting:
		name = theme.ColorNamePrimary
	case view.IconBlocked, view.IconUnknown:
		name = theme.ColorNameError
	}
	return color.NRGBAModel.Convert(th.Color(name, fyne.CurrentApp().Settings().ThemeVariant())).(color.NRGBA)
}

// traySize is in pixels; panels show it smaller.
const traySize = 64

// trayPicture is the tray's icon, in the form that it takes; a template is a shape that the system colours (macOS).
func trayPicture(i view.Icon, template bool) []byte {
	switch {
	case template:
		return icon.PNG(icon.Draw(kindOf(i), traySize, color.NRGBA{A: 0xff}))
	case runtime.GOOS == "windows":
		var sizes []image.Image // Windows takes the one that fits, and scales badly
		for _, size := range []int{16, 20, 24, 32, 40, 48, traySize} {
			sizes = append(sizes, icon.Tray(kindOf(i), size))
		}
		return icon.ICO(sizes...)
	}
	return icon.PNG(icon.Tray(kindOf(i), traySize))
}

// applicationSize is in pixels.
const applicationSize = 256

// drawn is a picture that is drawn when it is asked for first.
type drawn struct {
	name string
	png  func() []byte
}

// Name implements fyne.Resource.
func (d *drawn) Name() string { return d.name }

// Content implements fyne.Resource.
func (d *drawn) Content() []byte { return d.png() }

// applicationPicture is the icon of the window and the program.
func applicationPicture() fyne.Resource {
	return &drawn{"adit.png", sync.OnceValue(func() []byte { return icon.PNG(icon.Application(applicationSize)) })}
}
