//go:build !linux

package confine

// Process does nothing: there are no capabilities here, and who starts the service confines it.
func Process() error { return nil }
