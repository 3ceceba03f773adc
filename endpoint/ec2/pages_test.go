package ec2

import (
	"encoding/xml"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/adit-vpn/adit/endpoint/model"
)

func endpoints(n int) (list []model.Endpoint) {
	for i := range n {
		e := model.Endpoint{ID: fmt.Sprintf("cvpn-endpoint-%02d", (i*7)%n), Status: model.Status{Code: model.Available}, Tags: []model.Tag{{Key: "n", Value: fmt.Sprint(i % 2)}}}
		e.Transport = []string{"udp", "tcp"}[i%2]
		list = append(list, e)
	}
	return list
}

// list asks for endpoints and returns their ids.
func list(t *testing.T, s *Server, query string) (ids []string, next string) {
	t.Helper()
	code, body := do(s, request("Action=DescribeClientVpnEndpoints&Version=2016-11-15"+query))
	if code != 200 {
		t.Fatalf("%s: %d %s", query, code, body)
	}
	var answer struct {
		IDs  []string `xml:"clientVpnEndpoint>item>clientVpnEndpointId"`
		Next string   `xml:"nextToken"`
	}
	if err := xml.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatal(err)
	}
	return answer.IDs, answer.Next
}

func TestPages(t *testing.T) {
	f := &fake{endpoints: endpoints(13)}
	s := newServer(f, nil)
	var all []string
	token := ""
	for range 3 {
		ids, next := list(t, s, "&MaxResults=5&NextToken="+url.QueryEscape(token))
		all, token = append(all, ids...), next
		// Meanwhile one that was seen goes: it makes nobody else come twice or not at all.
		f.endpoints = slices.DeleteFunc(slices.Clone(f.endpoints), func(e model.Endpoint) bool { return e.ID == ids[0] })
	}
	if token != "" || len(all) != 13 || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != 13 {
		t.Errorf("%v, %q", all, token)
	}
	f.endpoints = endpoints(10)
	if ids, next := list(t, s, "&MaxResults=10"); len(ids) != 10 || next != "" {
		t.Errorf("a page that takes all: %d, %q", len(ids), next)
	}
	_, next := list(t, s, "&MaxResults=5&Filter.1.Name=endpoint-id&Filter.1.Value.1=*")
	for name, query := range map[string]string{
		"a small page":                   "&MaxResults=4",
		"a large page":                   "&MaxResults=1001",
		"a token of nobody":              "&NextToken=abc",
		"a token that is no base64":      "&NextToken=%25",
		"a token of another request":     "&NextToken=" + next,
		"a token with other words":       "&Filter.1.Name=endpoint-id&Filter.1.Value.1=*&NextToken=" + next[:len(next)-4] + "AAAA",
		"a token of another, by another": "&Filter.1.Name=endpoint-id&Filter.1.Value.1=c*&NextToken=" + next,
	} {
		if code, body := do(s, request("Action=DescribeClientVpnEndpoints&Version=2016-11-15"+query)); code != 400 || !strings.Contains(body, "<Code>Invalid") {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if ids, _ := list(t, s, "&MaxResults=7&Filter.1.Name=endpoint-id&Filter.1.Value.1=*&NextToken="+next); len(ids) != 5 {
		t.Errorf("the token with another size of pages: %v", ids)
	}
}

func TestFilters(t *testing.T) {
	s := newServer(&fake{endpoints: endpoints(4)}, nil)
	for query, want := range map[string]int{
		"&Filter.1.Name=transport-protocol&Filter.1.Value.1=tcp":                                                                        2,
		"&Filter.1.Name=transport-protocol&Filter.1.Value.1=tcp&Filter.1.Value.2=udp":                                                   4,
		"&Filter.1.Name=transport-protocol&Filter.1.Value.1=TCP":                                                                        0,
		"&Filter.1.Name=transport-protocol&Filter.1.Value.1=tcp&Filter.2.Name=endpoint-id&Filter.2.Value.1=cvpn-endpoint-0?":            2,
		"&Filter.1.Name=endpoint-id&Filter.1.Value.1=*03&ClientVpnEndpointId.1=cvpn-endpoint-03&ClientVpnEndpointId.2=cvpn-endpoint-01": 1,
		"&Filter.1.Name=tag:n&Filter.1.Value.1=1":                                                                                       2,
		"&Filter.1.Name=tag:m&Filter.1.Value.1=*":                                                                                       0,
		"&Filter.1.Name=tag-key&Filter.1.Value.1=n":                                                                                     4,
	} {
		if ids, _ := list(t, s, query); len(ids) != want {
			t.Errorf("%s: %v, want %d", query, ids, want)
		}
	}
	var many strings.Builder
	for i := range maxValues + 1 {
		fmt.Fprintf(&many, "&Filter.1.Value.%d=x", i+1)
	}
	for query, code := range map[string]string{
		"&Filter.1.Name=status&Filter.1.Value.1=x":   "InvalidParameterValue",
		"&Filter.1.Name=endpoint-id":                 "InvalidParameterValue",
		"&Filter.1.Value.1=x":                        "MissingParameter",
		"&Filter.1.Name=endpoint-id" + many.String(): "FilterLimitExceeded",
	} {
		if status, body := do(s, request("Action=DescribeClientVpnEndpoints&Version=2016-11-15"+query)); status != 400 || !strings.Contains(body, "<Code>"+code) {
			t.Errorf("%.80s: %d %s", query, status, body)
		}
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"a", "", false}, {"*", "", true}, {"*", "abc", true}, {"?", "", false}, {"?", "é", true},
		{"a*c", "abbbc", true}, {"a*c", "ac", true}, {"a*c", "acb", false}, {"*b*", "abc", true}, {"a**c", "abc", true}, {"*abc", "ababc", true},
		{"a?c", "abc", true}, {"a?c", "ac", false}, {`a\*c`, "a*c", true}, {`a\*c`, "abc", false}, {`a\?`, "a?", true}, {`a\\b`, `a\b`, true}, {`a\`, `a\`, true},
		{"10.0.0.0/16", "10.0.0.0/16", true}, {"10.0.0.0/16", "10x0.0.0/16", false},
		{strings.Repeat("*a", 50), strings.Repeat("a", 200) + "b", false}, // no exponential time
	} {
		if got := matches(c.pattern, c.text); got != c.want {
			t.Errorf("%q and %q: %v", c.pattern, c.text, got)
		}
	}
}
