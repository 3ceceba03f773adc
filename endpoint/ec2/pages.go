package ec2

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/adit-vpn/adit/endpoint/model"
)

const (
	minPage    = 5
	maxPage    = 1000
	maxFilters = 50  // in a request
	maxValues  = 200 // of one filter
	tokenProof = 16  // bytes of a token that prove that we made it
)

// paging is what asks for a list in parts.
type paging struct {
	Max   *int   `query:"MaxResults"`
	Token string `query:"NextToken"`
}

// page is the part of a list that a request asks for, in the order of key, and the token of the next part. A token names the last
// of its part: what is made or deleted meanwhile makes nobody else come twice or not at all.
func page[T any](c *call, p paging, list []T, key func(T) string) ([]T, string, error) {
	count := maxPage
	if p.Max != nil {
		if count = *p.Max; count < minPage || count > maxPage {
			return nil, "", badValue(fmt.Sprintf("Value ( %d ) for parameter maxResults is invalid. Expecting a value between %d and %d.", count, minPage, maxPage))
		}
	}
	list = slices.SortedFunc(slices.Values(list), func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	if p.Token != "" {
		last, ok := c.tokenKey(p.Token)
		if !ok {
			return nil, "", &model.Error{Code: "InvalidNextToken", Message: "The NextToken is not one of this server for this request."}
		}
		list = slices.DeleteFunc(list, func(v T) bool { return key(v) <= last })
	}
	if len(list) <= count {
		return list, "", nil
	}
	return list[:count], c.token(key(list[count-1])), nil
}

// token stands for the place in a list after key, in answers to this request alone.
func (c *call) token(key string) string {
	return base64.RawURLEncoding.EncodeToString(append(c.proof(key), key...))
}

func (c *call) tokenKey(token string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) < tokenProof {
		return "", false
	}
	key := string(b[tokenProof:])
	return key, hmac.Equal(b[:tokenProof], c.proof(key))
}

func (c *call) proof(key string) []byte {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte(strconv.Quote(c.form) + key))
	return mac.Sum(nil)[:tokenProof]
}

// filter is one of the conditions that all have to hold, with the values of which one has to fit.
type filter struct {
	Name   string   `query:"Name,required"`
	Values []string `query:"Value"`
}

// filtering is what asks for a part of a list by its contents.
type filtering struct {
	Filters []filter `query:"Filter"`
}

// columns says what a list can be filtered by.
type columns[T any] map[string]func(T) []string

// one makes a column of a single value.
func one[T any](f func(T) string) func(T) []string {
	return func(v T) []string { return []string{f(v)} }
}

// constant makes a column that is the same everywhere.
func constant[T any](value string) func(T) []string {
	return func(T) []string { return []string{value} }
}

// filtered is what of list fits all filters; tags is nil where there are none.
func filtered[T any](f filtering, list []T, by columns[T], tags func(T) []model.Tag) ([]T, error) {
	if len(f.Filters) > maxFilters {
		return nil, &model.Error{Code: "FilterLimitExceeded", Message: fmt.Sprintf("A request has at most %d filters.", maxFilters)}
	}
	for _, one := range f.Filters {
		column := by[one.Name]
		if key, ok := strings.CutPrefix(one.Name, "tag:"); ok && tags != nil {
			column = func(v T) (values []string) {
				for _, t := range tags(v) {
					if t.Key == key {
						values = append(values, t.Value)
					}
				}
				return values
			}
		} else if one.Name == "tag-key" && tags != nil {
			column = func(v T) (keys []string) {
				for _, t := range tags(v) {
					keys = append(keys, t.Key)
				}
				return keys
			}
		}
		if column == nil {
			return nil, badValue("The filter " + quoted(one.Name) + " is invalid")
		}
		if len(one.Values) == 0 {
			return nil, badValue("The filter " + quoted(one.Name) + " has no values")
		}
		if len(one.Values) > maxValues {
			return nil, &model.Error{Code: "FilterLimitExceeded", Message: fmt.Sprintf("A filter has at most %d values.", maxValues)}
		}
		list = slices.DeleteFunc(slices.Clone(list), func(v T) bool {
			for _, got := range column(v) {
				if slices.ContainsFunc(one.Values, func(pattern string) bool { return matches(pattern, got) }) {
					return false
				}
			}
			return true
		})
	}
	return list, nil
}

// matches says whether text fits a pattern in which * stands for any characters, ? for one, and a backslash takes that from them.
func matches(pattern, text string) bool {
	p, s := []rune(pattern), []rune(text)
	star, from := -1, 0 // where to go on when what comes after the last * does not fit
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, from = i, j
			i++
			continue
		case i < len(p) && p[i] == '?':
			i, j = i+1, j+1
			continue
		case i+1 < len(p) && p[i] == '\\' && p[i+1] == s[j]:
			i, j = i+2, j+1
			continue
		case i < len(p) && p[i] == s[j] && (p[i] != '\\' || i+1 == len(p)):
			i, j = i+1, j+1
			continue
		}
		if star < 0 {
			return false
		}
		from++
		i, j = star+1, from
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
