// Package seal keeps what is written to disk from those who have the disk and not the machine, where the system has a key for
// that. It does not keep it from programs on the machine: access lists do. It starts no goroutine.
package seal

// Sealer makes bytes that only this machine can open again. Safe for concurrent use.
type Sealer interface {
	Seal(plain []byte) (sealed []byte, err error)
	Open(sealed []byte) (plain []byte, err error)
}
