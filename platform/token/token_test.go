package token

import (
	"bytes"
	"crypto"
	_ "crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/ovpn/push"
)

func TestParseID(t *testing.T) {
	for _, c := range []struct {
		text string
		want ID
		bad  bool
	}{
		{text: ""},
		{text: "pkcs11:"},
		{text: "pkcs11:model=p%20m;token=ann%27s%3Btoken;manufacturer=OpenSC;serial=00A1;id=%01%FF;type=cert",
			want: ID{Model: "p m", Token: "ann's;token", Manufacturer: "OpenSC", Serial: "00A1", Key: []byte{1, 0xff}}},
		{text: "pkcs11:object=key%2002;id=ab?module-path=/evil.so&pin-value=1", want: ID{Object: "key 02", Key: []byte("ab")}},
		{text: `OpenSC\x20Project/PKCS\x2315/00a1/ann\x20b/4501`, want: ID{Manufacturer: "OpenSC Project", Model: "PKCS#15", Serial: "00a1", Token: "ann b", Key: []byte{0x45, 1}}},
		{text: "pkcs11:id", bad: true},
		{text: "pkcs11:id=%zz", bad: true},
		{text: "pkcs11:colour=red", bad: true},
		{text: "a/b/c/d", bad: true},
		{text: "a/b/c/d/e/f", bad: true},
		{text: "a/b/c/d/", bad: true},
		{text: "a/b/c/d/0", bad: true},
		{text: `a\x/b/c/d/01`, bad: true},
		{text: `a\xzz/b/c/d/01`, bad: true},
		{text: "pkcs11:token=" + strings.Repeat("a", maxID), bad: true},
	} {
		got, err := ParseID(c.text)
		if (err != nil) != c.bad || !c.bad && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%.60q: %+v, %v", c.text, got, err)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"pkcs11:token=a%20b;id=%01", `a\x20/b/c/d/01`, "pkcs11:;;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil || len(id.String()) > maxID {
			return
		}
		back, err := ParseID(id.String())
		if err != nil || back.String() != id.String() || !id.Matches(back) || !back.Matches(id) {
			t.Fatalf("%q gives %+v, and that %+v, %v", s, id, back, err)
		}
	})
}

// card is a module with one key.
type card struct {
	err    error
	closed int
}

func (c *card) Find(id ID) (Info, error) {
	return Info{ID: id, Certificate: []byte("der"), NeedsPIN: true}, c.err
}

func (c *card) Login(pin push.Secret) error {
	if pin != "4711" {
		return ErrPIN
	}
	return nil
}

func (c *card) Sign(scheme string, _ crypto.Hash, digest []byte) ([]byte, error) {
	return append([]byte(scheme+":"), digest...), nil
}

func (c *card) Close() { c.closed++ }

// TestServe: one row is one life of the helper, request by request.
func TestServe(t *testing.T) {
	digest := `"` + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" + `"`
	for _, c := range []struct {
		name, in string
		find     error
		want     []response
	}{
		{name: "all of it", in: `{"op":"open","module":"m","id":"pkcs11:id=%01"}` + "\n" + `{"op":"login","pin":"1"}` + "\n" + `{"op":"login","pin":"4711"}` + "\n" +
			`{"op":"sign","scheme":"pss","hash":5,"digest":` + digest + `}` + "\n",
			want: []response{{Info: &Info{ID: ID{Key: []byte{1}}, Certificate: []byte("der"), NeedsPIN: true}}, {Error: ErrPIN.Error(), Kind: "pin"}, {},
				{Signature: append([]byte("pss:"), make([]byte, 32)...)}}},
		{name: "nothing open", in: `{"op":"sign"}` + "\n" + `{"op":"login","pin":"4711"}`, want: []response{{Error: "no module is open"}, {Error: "no module is open"}}},
		{name: "nonsense", in: "x\n{}\n" + `{"op":"open","module":"m","id":"x"}`, want: []response{{Error: "the request cannot be read"}, {Error: "no module is open"},
			{Error: `pkcs11-id "x": neither a pkcs11: URI nor manufacturer/model/serial/token/id`}}},
		{name: "no such module", in: `{"op":"open","module":"none"}`, want: []response{{Error: "no such file"}}},
		{name: "no such key", in: `{"op":"open","module":"m"}`, find: ErrNotFound, want: []response{{Error: ErrNotFound.Error(), Kind: "not found"}}},
		{name: "locked", in: `{"op":"open","module":"m"}`, find: ErrLocked, want: []response{{Error: ErrLocked.Error(), Kind: "locked"}}},
		{name: "several keys", in: `{"op":"open","module":"m"}`, find: &AmbiguousError{[]ID{{Token: "a b"}, {Key: []byte{1}}}},
			want: []response{{Error: "2 certificates on tokens fit; pkcs11-id has to name one", Kind: "ambiguous", IDs: []string{"pkcs11:token=a%20b", "pkcs11:id=%01"}}}},
		{name: "a digest of another size", in: `{"op":"open","module":"m"}` + "\n" + `{"op":"sign","scheme":"pss","hash":5,"digest":"AAAA"}` + "\n" + `{"op":"sign","scheme":"pss","hash":99,"digest":"AAAA"}` + "\n" + `{"op":"dance"}`,
			want: []response{{Info: &Info{Certificate: []byte("der"), NeedsPIN: true}}, {Error: "the digest is not of its hash"}, {Error: "the digest is not of its hash"}, {Error: "the request is not known"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &card{err: c.find}
			opened := 0
			var out bytes.Buffer
			err := Serve(strings.NewReader(c.in), &out, func(path string) (Module, error) {
				if path != "m" {
					return nil, errors.New("no such file")
				}
				opened++
				return m, nil
			})
			if err != nil || m.closed != opened {
				t.Errorf("%v; opened %d, closed %d", err, opened, m.closed)
			}
			d := json.NewDecoder(&out)
			for i, want := range c.want {
				var got response
				if err := d.Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("response %d: %+v, %v; want %+v", i, got, err, want)
				}
				_ = got.err() // reads every kind
			}
			if err := d.Decode(new(response)); err != io.EOF {
				t.Errorf("more responses than requests: %v", err)
			}
		})
	}
}
