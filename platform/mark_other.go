//go:build !linux

package platform

// Mark is no more than a name where packets have no routing mark.
const Mark = 0
