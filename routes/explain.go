package routes

import "net/netip"

// Explanation says which way a packet to Destination would go, and why.
type Explanation struct {
	Destination netip.Addr   `json:"destination"`
	Way         string       `json:"way"` // "tunnel", "around", "underlay", "unreachable", "no route"
	Profile     string       `json:"profile"`
	Device      string       `json:"device"`
	Gateway     netip.Addr   `json:"gateway"`
	Route       netip.Prefix `json:"route"` // the row that decides
	Reason      string       `json:"reason"`
	DNS         string       `json:"dns"`   // which resolver answers names, in words
	Guard       string       `json:"guard"` // what the guard does with it, in words
	Text        string       `json:"text"`  // the whole in one or two sentences
}
