//go:build !linux && !windows && !darwin

package platform

// CreateTUN says that this system has no kernel tunnels yet.
func CreateTUN(name string, mtu, queues int) ([]TUN, error) { return nil, notYet{} }
