package query

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

type common struct {
	DryRun bool `query:"DryRun"`
}

type filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Value"`
}

type request struct {
	common
	ID      string   `query:"Id,required"`
	Text    *string  `query:"Text"`
	Split   *bool    `query:"Split"`
	Port    *int     `query:"Port"`
	IDs     []string `query:"Ids"`
	Filters []filter `query:"Filter"`
	Log     *struct {
		Enabled *bool  `query:"Enabled,required"`
		Group   string `query:"Group"`
	} `query:"Log"`
}

func decode(body string) (request, error) {
	var r request
	f, err := Parse(body)
	if err != nil {
		return r, err
	}
	return r, Decode(f, &r)
}

func TestDecode(t *testing.T) {
	r, err := decode("Id=a%20b+c&DryRun=true&Text=&Split=FALSE&Port=443&Ids.2=y&Ids.1=x&Filter.1.Name=n&Filter.1.Value.2=w&Filter.1.Value.1=v&Log.Enabled=1&Log.Group=g")
	if err != nil {
		t.Fatal(err)
	}
	if r.ID != "a b c" || !r.DryRun || r.Text == nil || *r.Text != "" || r.Split == nil || *r.Split || *r.Port != 443 ||
		!reflect.DeepEqual(r.IDs, []string{"x", "y"}) || !reflect.DeepEqual(r.Filters, []filter{{"n", []string{"v", "w"}}}) ||
		r.Log == nil || !*r.Log.Enabled || r.Log.Group != "g" {
		t.Errorf("%+v", r)
	}
	if r, err := decode("Id=a"); err != nil || r.Text != nil || r.Split != nil || r.Port != nil || r.IDs != nil || r.Log != nil {
		t.Errorf("what was not said: %+v, %v", r, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := strings.Builder{}
	for i := range maxParameters + 1 {
		fmt.Fprintf(&many, "P%d=1&", i)
	}
	for _, c := range []struct{ body, code, says string }{
		{"", "MissingParameter", "The request must contain the parameter Id"},
		{"Id=", "MissingParameter", "parameter Id"},
		{"Id=a&Log.Group=g", "MissingParameter", "parameter Log.Enabled"},
		{"Id=a&Filter.1.Value.1=v", "MissingParameter", "parameter Filter.1.Name"},
		{"Id=a&Other=1", "UnknownParameter", "The parameter Other is not recognized"},
		{"Id=a&Log.Enabled=1&Log.Other.Thing=1", "UnknownParameter", "parameter Log.Other.Thing"},
		{"Id=a&Id.1=b", "UnknownParameter", "parameter Id.1"},
		{"Id=a&Ids=b", "UnknownParameter", "parameter Ids"},
		{"Id=a&Ids.0=b", "UnknownParameter", "parameter Ids.0"},
		{"Id=a&Ids.01=b", "UnknownParameter", "parameter Ids.01"},
		{"Id=a&Ids.x=b", "UnknownParameter", "parameter Ids.x"},
		{"Id=a&Ids.1.2=b", "UnknownParameter", "parameter Ids.1.2"},
		{"Id=a&Log=b", "UnknownParameter", "parameter Log"},
		{"Id=a&.=b", "UnknownParameter", "parameter ."},
		{"Id=a&A.B.C.D.E.F.G=b", "UnknownParameter", "A.B.C.D.E.F.G"},
		{"Id=a&Ids.1=b&Ids.3=c", "InvalidParameterValue", "The list Ids has 2 values and no Ids.2"},
		{"Id=a&Ids.999999999=b", "InvalidParameterValue", "no Ids.1"},
		{"Id=a&Split=maybe", "InvalidParameterValue", "Value (maybe) for parameter Split is invalid. Invalid boolean value"},
		{"Id=a&Port=1e3", "InvalidParameterValue", "Invalid integer value"},
		{"Id=a&Port=99999999999", "InvalidParameterValue", "Invalid integer value"},
		{"Id=a&Text=%00", "InvalidParameterValue", "parameter Text is not text"},
		{"Id=a&Text=%ff", "InvalidParameterValue", "parameter Text is not text"},
		{"Id=a&Text=%zz", "MalformedQueryString", "not a form"},
		{"Id=a&=b", "MalformedQueryString", "without a usable name"},
		{"Id=a&Id=b", "InvalidParameterCombination", "Id is there more than once"},
		{many.String(), "InvalidParameterCombination", "more than 4096 parameters"},
	} {
		_, err := decode(c.body)
		var e *Error
		if !errors.As(err, &e) || e.Code != c.code || !strings.Contains(e.Message, c.says) {
			t.Errorf("%.60s: %v, want %s: %s", c.body, err, c.code, c.says)
		}
	}
}

func TestForm(t *testing.T) {
	f, err := Parse("B=2&A=1&N=token")
	if err != nil {
		t.Fatal(err)
	}
	g, _ := Parse("A=1&B=2")
	if f.Canonical("N") != g.Canonical() || f.Canonical() == g.Canonical() {
		t.Errorf("%s, %s", f.Canonical("N"), g.Canonical())
	}
	if f.Take("A") != "1" || f.Take("A") != "" {
		t.Error("a parameter can be taken once")
	}
	// What is quoted cannot be taken for two parameters.
	a, b := Form{"A": `1"&"B"="2`}, Form{"A": "1", "B": "2"}
	if a.Canonical() == b.Canonical() {
		t.Error("two forms with one text")
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("Id=a&Ids.1=x&Filter.1.Name=n&Filter.1.Value.1=v&Log.Enabled=true")
	f.Add("A.B=1&A=2&A.B.C=3")
	f.Fuzz(func(t *testing.T, body string) {
		r, err := decode(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Code == "" || e.Message == "" {
				t.Fatalf("%v", err)
			}
			return
		}
		if r.ID == "" {
			t.Fatal("what must be there is not")
		}
		for _, filter := range r.Filters {
			if filter.Name == "" {
				t.Fatal("a filter without a name")
			}
		}
	})
}
