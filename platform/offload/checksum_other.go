//go:build !amd64

package offload

// sumWide leaves everything to sum.
func sumWide(b []byte) (uint64, []byte) { return 0, b }
