//go:build gui

package main

import "golang.org/x/sys/windows"

// show shows why the app does not start: a program without a console has nowhere to write to.
func show(err error) {
	text, wrong := windows.UTF16PtrFromString(err.Error())
	if wrong != nil {
		return
	}
	_, _ = windows.MessageBox(0, text, windows.StringToUTF16Ptr("Adit"), windows.MB_OK|windows.MB_ICONERROR)
}
