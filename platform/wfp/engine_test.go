package wfp

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// memory is a filtering engine that says what was asked of it, and decides about packets as the platform's documentation
// says ("Filter Arbitration", "Filter Weight Assignment", and FWPM_FILTER0 about conditions).
type memory struct {
	t        *testing.T
	provider string
	subs     map[guid]sublayer
	set      map[guid]filter
	turn     map[guid]int // in which filters came
	disabled map[guid]bool
	stubborn bool // what is added is disabled, too
	turns    int
	log      []string
	busy     int              // transactions that do not begin
	fail     map[string]error // by the first words of a line of the log
}

func newMemory(t *testing.T) *memory {
	return &memory{t: t, subs: map[guid]sublayer{}, set: map[guid]filter{}, turn: map[guid]int{}, disabled: map[guid]bool{}, fail: map[string]error{}}
}

func (m *memory) did(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	m.log = append(m.log, line)
	for prefix, err := range m.fail {
		if strings.HasPrefix(line, prefix) {
			return err
		}
	}
	return nil
}

// took is the log since the last took.
func (m *memory) took() string {
	out := strings.Join(m.log, "\n")
	m.log = nil
	return out
}

func (m *memory) open() (session, error) {
	return &sitting{memory: m}, m.fail["open"]
}

// sitting is a session: what it changes is its own until it commits.
type sitting struct {
	*memory
	begun    bool
	provider string
	subs     map[guid]sublayer
	set      map[guid]filter
	disabled map[guid]bool
}

func (s *sitting) begin() error {
	if s.busy > 0 {
		s.busy--
		_ = s.did("begin: timeout")
		return fmt.Errorf("FwpmTransactionBegin0: %w", errTimeout)
	}
	s.begun, s.provider, s.subs, s.set, s.disabled = true, s.memory.provider, maps.Clone(s.memory.subs), maps.Clone(s.memory.set), maps.Clone(s.memory.disabled)
	return s.did("begin")
}

func (s *sitting) commit() error {
	err := s.did("commit")
	if err == nil {
		s.memory.provider, s.memory.subs, s.memory.set, s.memory.disabled, s.begun = s.provider, s.subs, s.set, s.disabled, false
	}
	return err
}

func (s *sitting) close() error {
	if s.begun {
		return s.did("close: aborted")
	}
	return s.did("close")
}

func (s *sitting) addProvider(service string) error {
	if s.provider != "" {
		return errExists
	}
	s.provider = service
	return s.did("+ provider, of service %s", service)
}

func (s *sitting) deleteProvider() error {
	if s.provider == "" {
		return errNoProvider
	}
	if len(s.subs) > 0 {
		return code(0x8032000a) // FWP_E_IN_USE
	}
	s.provider = ""
	return s.did("- provider")
}

func (s *sitting) sublayers() ([]sublayer, error) {
	return slices.SortedFunc(maps.Values(s.subs), func(a, b sublayer) int { return strings.Compare(a.name, b.name) }), nil
}

func (s *sitting) addSublayer(sub sublayer) error {
	if _, there := s.subs[sub.key]; there {
		return errExists
	}
	if s.provider == "" {
		return errNoProvider
	}
	s.subs[sub.key] = sub
	return s.did("+ sublayer %s %s", sub.name, sub.data)
}

func (s *sitting) deleteSublayer(key guid) error {
	if slices.ContainsFunc(slices.Collect(maps.Values(s.set)), func(f filter) bool { return f.sublayer == key }) {
		return code(0x8032000a)
	}
	name := s.subs[key].name
	delete(s.subs, key)
	return s.did("- sublayer %s", name)
}

func (s *sitting) filters(l layer) (out []placed, err error) {
	keys := slices.Collect(maps.Keys(s.set))
	slices.SortFunc(keys, func(a, b guid) int { return s.turn[a] - s.turn[b] })
	for _, k := range keys {
		if f := s.set[k]; f.layer == l {
			out = append(out, placed{k, f.sublayer, f.data, s.disabled[k] && !f.boot})
		}
	}
	return out, nil
}

func (s *sitting) addFilter(key guid, f filter) error {
	if _, there := s.set[key]; there {
		return errExists
	}
	if _, there := s.subs[f.sublayer]; !there {
		return code(0x80320007) // FWP_E_SUBLAYER_NOT_FOUND
	}
	if err := fits(f); err != nil {
		s.t.Errorf("%s: %v", s.line(f), err)
		return err
	}
	s.turns++
	s.set[key], s.turn[key], s.disabled[key] = f, s.turns, s.stubborn
	return s.did("+ %s", s.line(f))
}

// available are the conditions of each layer ("Filtering Conditions Available at Each Filtering Layer"), as far as we use them.
var available = map[layer][]field{
	connect4: {flags, program, user, protocol, remote, remotePort, localPort, local, device},
	accept4:  {flags, program, user, protocol, remote, remotePort, localPort, local, device},
	forward4: {flags, target, outDevice, device},
	inbound4: {flags, remote, local, device},
}

// fits says why the engine would not take a filter.
func fits(f filter) error {
	six := f.layer%2 == 1
	var seen []field
	for i, c := range f.conditions {
		if !slices.Contains(available[f.layer&^1], c.field) {
			return fmt.Errorf("no %s there: %w", fieldNames[c.field], code(0x80320002)) // FWP_E_CONDITION_NOT_FOUND
		}
		if slices.Contains(seen, c.field) && f.conditions[i-1].field != c.field {
			return fmt.Errorf("alternatives apart: %w", code(0x8032002a)) // FWP_E_DUPLICATE_CONDITION
		}
		if slices.Contains(f.conditions[:i], c) {
			return fmt.Errorf("%s twice: %w", c.value, code(0x8032002a))
		}
		seen = append(seen, c.field)
		if p := c.value.prefix; slices.Contains([]field{remote, local, target}, c.field) && (!p.IsValid() || p.Addr().Is6() != six || p.Bits() == 0 || p != p.Masked()) {
			return fmt.Errorf("%s: %w", p, code(0x80320027)) // FWP_E_TYPE_MISMATCH
		}
	}
	if f.weight > 15 || f.name == "" {
		return code(0x80320025) // FWP_E_INVALID_WEIGHT
	}
	return nil
}

func (s *sitting) deleteFilter(key guid) error {
	f, there := s.set[key]
	if !there {
		return code(0x80320003) // FWP_E_FILTER_NOT_FOUND
	}
	delete(s.set, key)
	return s.did("- %s", s.line(f))
}

var errNoFile = errors.New("the file is gone")

func (s *sitting) appID(path string) ([]byte, error) {
	if strings.Contains(path, "gone") {
		return nil, errNoFile
	}
	return idOf(path), nil
}

// idOf is how filters know a program: its path on the device, in lower case, with a zero at its end.
func idOf(path string) (out []byte) {
	for _, u := range append(utf16.Encode([]rune(`\device\harddiskvolume3`+strings.ToLower(strings.TrimPrefix(path, "C:")))), 0) {
		out = append(out, byte(u), byte(u>>8))
	}
	return out
}

var (
	layerNames = [layers]string{"connect4", "connect6", "accept4", "accept6", "forward4", "forward6", "inbound4", "inbound6"}
	fieldNames = [fields]string{"flags", "program", "user", "protocol", "remote", "port", "from-port", "local", "device", "out-device", "to"}
)

// line is a filter in words: sublayer, layer, weight, what it does, and to what.
func (s *sitting) line(f filter) string {
	what := "pass "
	if f.block {
		what = "block"
	}
	if f.boot {
		what += " at the start"
	}
	name := func(g guid) string { return strings.TrimPrefix(s.subs[g].name, "Adit ") }
	owner, n, _ := readTag(f.data)
	whose := name(f.sublayer)
	if owner != f.sublayer {
		whose += " for " + name(owner)
	}
	out := fmt.Sprintf("%s: %s %2d %s", whose, layerNames[f.layer], f.weight, what)
	last := fields
	for _, c := range f.conditions {
		sep := " " + fieldNames[c.field] + "="
		if c.field == last {
			sep = "|"
		}
		last = c.field
		out += sep + c.value.String()
	}
	out += " (" + f.name + ")"
	if n != nil {
		out += fmt.Sprintf(" notes %s", f.data[16:])
	}
	return out
}

func (v value) String() string {
	switch {
	case v.prefix.IsValid():
		return v.prefix.String()
	case v.text == "":
		return fmt.Sprint(v.number)
	case strings.HasPrefix(v.text, "S-1-"):
		return v.text
	}
	var u []uint16
	for b := []byte(v.text); len(b) > 1; b = b[2:] {
		u = append(u, uint16(b[0])|uint16(b[1])<<8)
	}
	return strings.TrimSuffix(string(utf16.Decode(u)), "\x00")
}

// packet is one that the engine is asked about.
type packet struct {
	at       layer
	program  string // path
	users    []string
	protocol uint64
	remote   netip.Addr // where a packet that is passed on goes to
	port     uint64     // of remote; of ICMP the code
	own      uint64     // own port; of ICMP the type
	local    netip.Addr
	device   uint64
	loopback bool
	starting bool // the system starts: only filters for that are in force
}

// has compares a value with the packet's own.
func (p packet) has(c condition) bool {
	within := func(a netip.Addr) bool { return a.IsValid() && c.value.prefix.Contains(a) }
	switch c.field {
	case flags:
		return p.loopback // the only one that is asked for
	case program:
		return p.program != "" && c.value.text == string(idOf(p.program))
	case user:
		return slices.Contains(p.users, c.value.text)
	case protocol:
		return p.protocol == c.value.number
	case remote, target:
		return within(p.remote)
	case remotePort:
		return p.port == c.value.number
	case localPort:
		return p.own == c.value.number
	case local:
		return within(p.local)
	case device, outDevice:
		return p.device != 0 && p.device == c.value.number
	}
	panic("an unknown field")
}

// matches: neighbours of one field are alternatives, all others must hold.
func (p packet) matches(f filter) bool {
	for i := 0; i < len(f.conditions); {
		hit, at := false, f.conditions[i].field
		for ; i < len(f.conditions) && f.conditions[i].field == at; i++ {
			hit = hit || p.has(f.conditions[i])
		}
		if !hit {
			return false
		}
	}
	return true
}

// passes decides: in each sublayer the first filter that matches, from the highest weight down; a block in any is final, and
// a permit (all of ours are soft) leaves the others their say.
func (m *memory) passes(p packet) bool {
	m.t.Helper()
	passes := true
	for key := range m.subs {
		var first []filter
		for k, f := range m.set {
			if f.sublayer != key || f.layer != p.at || f.boot != p.starting || m.disabled[k] || !p.matches(f) {
				continue
			}
			if len(first) > 0 && f.weight > first[0].weight {
				first = nil
			}
			if len(first) == 0 || f.weight == first[0].weight {
				first = append(first, f)
			}
		}
		for _, f := range first {
			if f.block != first[0].block {
				m.t.Errorf("%q and %q are of one weight and do not agree", first[0].name, f.name)
			}
		}
		if len(first) > 0 && first[0].block {
			passes = false
		}
	}
	return passes
}
