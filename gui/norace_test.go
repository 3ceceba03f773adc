//go:build !race

package gui

const racing = false
