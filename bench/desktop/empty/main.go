//go:build gui

// Command empty is a window of the desktop app's toolkit with nothing in it: what the app's start is held against.
package main

import (
	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/app"
	"fyne.io/fyne/v2/widget"
)

func main() {
	w := app.NewWithID("adit.bench.empty").NewWindow("Adit")
	w.SetContent(widget.NewLabel(""))
	w.Resize(fyne.NewSize(900, 640))
	w.ShowAndRun()
}
