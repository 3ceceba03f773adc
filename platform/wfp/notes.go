package wfp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/adit-vpn/adit/routes"
)

// label is what a sublayer carries: whose guard it is.
type label struct {
	Dir  string `json:"dir"` // of the Host's journal
	Name string `json:"name"`
}

// notes are what the other guards must know of one. They stand with its first filter: the filtering engine is
// the only place that all Hosts share, and that outlives them.
type notes struct {
	// App and User are the service's program and who it runs as (a SID of its token).
	App  string `json:"app"`
	User string `json:"user"`
	// Outer and Resolvers are where its own packets may go.
	Outer     []routes.Endpoint `json:"outer,omitempty"`
	Resolvers []netip.Addr      `json:"resolvers,omitempty"`
	// Tunnel is the LUID of its device; 0 = none yet.
	Tunnel uint64 `json:"tunnel,omitempty"`
	// Closes and Inside say what others must write into this guard.
	Closes bool `json:"closes,omitempty"`
	Inside bool `json:"inside,omitempty"`
}

// maxNotes bounds what is read back, in bytes.
const maxNotes = 256 << 10

// readLabel is the inverse of a label's JSON.
func readLabel(b []byte) (l label, err error) {
	return l, readJSON(b, &l)
}

// tag is the data of a filter that guard owner wrote, with n for its first.
func tag(owner guid, n *notes) ([]byte, error) {
	b := owner.bytes()
	if n == nil {
		return b, nil
	}
	text, err := json.Marshal(n)
	if err == nil && len(text) > maxNotes {
		err = fmt.Errorf("a guard with %d bytes of servers is too large", len(text))
	}
	return append(b, text...), err
}

// readTag is the inverse of tag.
func readTag(b []byte) (owner guid, n *notes, err error) {
	if len(b) < 16 {
		return guid{}, nil, fmt.Errorf("filter with %d bytes of data", len(b))
	}
	owner = readGUID([16]byte(b[:16]))
	if len(b) == 16 {
		return owner, nil, nil
	}
	n = new(notes)
	return owner, n, readJSON(b[16:], n)
}

func readJSON(b []byte, to any) error {
	if len(b) > maxNotes {
		return fmt.Errorf("%d bytes of data are too many", len(b))
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(to)
}
