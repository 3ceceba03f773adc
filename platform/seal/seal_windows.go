package seal

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

// System seals with the machine's key of the Data Protection API (CryptProtectData), which is SYSTEM's secret and not on
// the disk in the clear.
func System() Sealer { return machine{} }

type machine struct{}

const how = windows.CRYPTPROTECT_LOCAL_MACHINE | windows.CRYPTPROTECT_UI_FORBIDDEN

// purpose keeps apart what other programs seal: it is no secret.
const purpose = "Adit's profiles"

func (machine) Seal(plain []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptProtectData(blob(plain), nil, blob([]byte(purpose)), 0, nil, how, &out); err != nil {
		return nil, os.NewSyscallError("CryptProtectData", err)
	}
	return taken(out), nil
}

func (machine) Open(sealed []byte) ([]byte, error) {
	var out windows.DataBlob
	if err := windows.CryptUnprotectData(blob(sealed), nil, blob([]byte(purpose)), 0, nil, windows.CRYPTPROTECT_UI_FORBIDDEN, &out); err != nil {
		return nil, os.NewSyscallError("CryptUnprotectData", err)
	}
	return taken(out), nil
}

func blob(b []byte) *windows.DataBlob {
	return &windows.DataBlob{Size: uint32(len(b)), Data: unsafe.SliceData(b)}
}

// taken copies what the system gave, and gives that back.
func taken(b windows.DataBlob) []byte {
	out := append([]byte{}, unsafe.Slice(b.Data, b.Size)...)
	clear(unsafe.Slice(b.Data, b.Size))
	windows.LocalFree(windows.Handle(unsafe.Pointer(b.Data)))
	return out
}
