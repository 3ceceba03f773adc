package query

import (
	"reflect"
	"strconv"
	"strings"
)

// Decode writes a form into the struct that dst points to; errors are *Error, and dst is then half written. A field's tag
// says how its parameter is named, and whether it must be there:
//
//	Endpoint string   `query:"ClientVpnEndpointId,required"`
//	Split    *bool    `query:"SplitTunnel"`     // nil: not said
//	Groups   []string `query:"SecurityGroupId"` // SecurityGroupId.1, SecurityGroupId.2
//	Filters  []Filter `query:"Filter"`          // Filter.1.Name, Filter.1.Value.1
//	Common                                      // an embedded struct's fields stand beside the others
//
// Fields are string, bool, int, structs, pointers to them, and slices of string or structs. Parameters without a field are errors.
func Decode(f Form, dst any) error {
	root, err := tree(f)
	if err != nil {
		return err
	}
	return root.into(reflect.ValueOf(dst).Elem())
}

// into reads n into v; v is nil'able or zero.
func (n *node) into(v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return n.into(v.Elem())
	case reflect.Struct:
		return n.intoStruct(v)
	case reflect.Slice:
		return n.intoSlice(v)
	}
	if n.children != nil {
		return unknown(n.below())
	}
	switch s := *n.value; v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		switch strings.ToLower(s) {
		case "true", "1":
			v.SetBool(true)
		case "false", "0":
		default:
			return failf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Invalid boolean value", s, n.path)
		}
	case reflect.Int:
		i, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return failf("InvalidParameterValue", "Value (%s) for parameter %s is invalid. Invalid integer value", s, n.path)
		}
		v.SetInt(i)
	default:
		panic("query: a field of type " + v.Type().String())
	}
	return nil
}

// below is the first parameter that goes on after n's own name.
func (n *node) below() string {
	return (&node{path: n.path, children: n.children}).first()
}

func (n *node) intoStruct(v reflect.Value) error {
	if n.value != nil {
		return unknown(n.path)
	}
	fields := map[string]reflect.Value{}
	var required []string
	collect(v, fields, &required)
	for _, name := range sortedSteps(n.children) {
		field, ok := fields[name]
		if !ok {
			return unknown(n.children[name].first())
		}
		if err := n.children[name].into(field); err != nil {
			return err
		}
	}
	for _, name := range required {
		child := n.children[name]
		if child == nil || child.value != nil && *child.value == "" {
			return missing(strings.TrimPrefix(n.path+"."+name, "."))
		}
	}
	return nil
}

// collect finds a struct's fields by the names of their parameters.
func collect(v reflect.Value, fields map[string]reflect.Value, required *[]string) {
	t := v.Type()
	for i := range t.NumField() {
		if t.Field(i).Anonymous {
			collect(v.Field(i), fields, required)
			continue
		}
		name, option, _ := strings.Cut(t.Field(i).Tag.Get("query"), ",")
		fields[name] = v.Field(i)
		if option == "required" {
			*required = append(*required, name)
		}
	}
}

// intoSlice reads a list: its numbers begin at 1 and have no gaps, in any order.
func (n *node) intoSlice(v reflect.Value) error {
	if n.value != nil {
		return unknown(n.path)
	}
	for _, step := range sortedSteps(n.children) {
		if i, err := strconv.Atoi(step); err != nil || i < 1 || strconv.Itoa(i) != step {
			return unknown(n.children[step].first())
		}
	}
	count := len(n.children)
	list := reflect.MakeSlice(v.Type(), count, count)
	for i := range count {
		item := n.children[strconv.Itoa(i+1)]
		if item == nil {
			return failf("InvalidParameterValue", "The list %s has %d values and no %s.%d", n.path, count, n.path, i+1)
		}
		if err := item.into(list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}
