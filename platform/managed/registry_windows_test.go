package managed

import (
	"errors"
	"io/fs"
	"reflect"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// TestRegistryWrite: what was there under another spelling, or as a list of its own, is replaced, not lost.
func TestRegistryWrite(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	r := Registry{Path: `SOFTWARE\AditRegistryTest`}
	t.Cleanup(func() { r.Remove() })
	k, _, err := registry.CreateKey(registry.LOCAL_MACHINE, r.Path, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for name, number := range map[string]uint32{"allowuserprofiles": 1, "Old": 1} {
		if err := k.SetDWordValue(name, number); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []string{"allowedservers", "OldList"} {
		l, _, err := registry.CreateKey(k, list, registry.ALL_ACCESS|registry.WOW64_64KEY)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.SetStringValue("1", "old.example"), l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Write(map[string]any{"AllowUserProfiles": false, "AllowedServers": []string{"a.example", "b.example"}, "MaxConnections": 3}); err != nil {
		t.Fatal(err)
	}
	got, err := r.Values()
	want := map[string]any{"allowuserprofiles": int64(0), "AllowedServers": []string{"a.example", "b.example"}, "MaxConnections": int64(3)}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
	if err := r.Remove(); err != nil {
		t.Error(err)
	}
	if _, err := r.Values(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: %v", err)
	}
}

// TestRegistrySet: one value is another one, a list of its name goes, and the rest stays as it is.
func TestRegistrySet(t *testing.T) {
	if !windows.GetCurrentProcessToken().IsElevated() {
		t.Skip("needs an administrator")
	}
	r := Registry{Path: `SOFTWARE\AditRegistryTestSet`}
	t.Cleanup(func() { r.Remove() })
	if err := r.Set("MaxConnections", 2); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Set("AllowedServers", []string{"a.example"}), r.Set("AutoConnect", "corp"), r.Set("maxconnections", 4)); err != nil {
		t.Fatal(err)
	}
	got, err := r.Values()
	want := map[string]any{"MaxConnections": int64(4), "AllowedServers": []string{"a.example"}, "AutoConnect": "corp"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
	l, _, err := registry.CreateKey(registry.LOCAL_MACHINE, r.Path+`\SignInHosts`, registry.ALL_ACCESS|registry.WOW64_64KEY)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.SetStringValue("1", "old.example"), l.Close(), r.Set("SignInHosts", []string{"new.example"})); err != nil {
		t.Fatal(err)
	}
	want["SignInHosts"] = []string{"new.example"}
	if got, err = r.Values(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%#v, %v", got, err)
	}
}
