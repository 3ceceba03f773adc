package acl

import (
	"strings"
	"testing"
)

// Lists as Windows 10 has them (icacls), and spoiled ones.
func TestFault(t *testing.T) {
	const (
		full, modify, read = 0x1f01ff, 0x1301bf, 0x1200a9
		container          = 0x03 // for files and folders inside, too
		users, everyone    = "S-1-5-32-545", "S-1-1-0"
		authenticated      = "S-1-5-11"
		creator            = "S-1-3-0"
		person             = "S-1-5-21-1-2-3-1001"
	)
	ours := []Entry{{0, container, full, System}, {0, container, full, Administrators}}
	with := func(owner string, more ...Entry) List {
		return List{Owner: owner, Entries: append(append([]Entry{}, ours...), more...)}
	}
	for _, c := range []struct {
		name         string
		list         List
		fault, above string // what is to be in them; empty: no fault
	}{
		{"C:\\", List{Owner: trustedInstaller, Entries: append([]Entry{
			{0, container | inheritOnly, modify, authenticated}, {0, 0, appendData, authenticated}, {0, container, read, users}}, ours...)},
			"Authenticated Users can write it", ""},
		{"C:\\ProgramData", with(System, Entry{0, 0x0b, genericAll, creator}, Entry{0, container, read, users}, Entry{0, 0x02, writeData | appendData | writeEA | writeAttributes, users}),
			"Users can write it", ""},
		{"ours", with(Administrators), "", ""},
		{"readable by all", with(System, Entry{0, container, read, everyone}, Entry{0, 0, read, users}), "", ""},
		{"the owner's rights", with(System, Entry{0, 0, full, ownerRights}), "", ""},
		{"a user's folder", with(person), "it belongs to " + person, "it belongs to " + person},
		{"somebody may write", with(System, Entry{0, 0, writeData, person}), person + " can write it", ""},
		{"somebody may change attributes", with(System, Entry{0, 0, writeAttributes, users}), "Users can write it", ""},
		{"somebody may delete in it", with(System, Entry{0, 0, deleteChild, users}), "Users can write it", "Users can replace what is in it"},
		{"somebody may delete it", with(System, Entry{0, 0, del, users}), "Users can write it", "Users can replace"},
		{"somebody may give rights", with(System, Entry{0, 0, writeDAC, everyone}), "Everyone can write it", "Everyone can replace"},
		{"somebody may take it", with(System, Entry{0, 0, writeOwner, everyone}), "Everyone can write it", "Everyone can replace"},
		{"generic rights", with(System, Entry{0, 0, genericWrite, everyone}), "Everyone can write it", "Everyone can replace"},
		{"only for what is inside", with(System, Entry{0, inheritOnly, full, everyone}), "", ""},
		{"a refusal", with(System, Entry{1, 0, full, everyone}), "", ""},
		{"a refusal does not help", with(System, Entry{1, 0, full, person}, Entry{0, 0, full, users}), "Users can write it", "Users can replace"},
		{"an entry with a condition", with(System, Entry{9, 0, read, ""}), "type 9", "type 9"},
		{"no list", List{Owner: System, Open: true}, "everybody can write it", "everybody can replace"},
		{"an empty list", List{Owner: System}, "", ""},
		{"no owner", List{}, "belongs to nobody", "belongs to nobody"},
	} {
		for _, got := range []struct{ is, want string }{{c.list.Fault(), c.fault}, {c.list.FaultAbove(), c.above}} {
			if (got.is == "") != (got.want == "") || !strings.Contains(got.is, got.want) {
				t.Errorf("%s: %q, want %q", c.name, got.is, got.want)
			}
		}
	}
	if f := with(person, Entry{0, 0, full, person}).Fault(person); f != "" {
		t.Errorf("a person's own: %s", f)
	}
	if f := with(person, Entry{0, 0, full, users}).Fault(person); f == "" {
		t.Error("a person's own that others can write passes")
	}
}
