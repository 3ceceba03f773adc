package endpoint

import "strings"

// Whoever reaches the endpoint may say of himself what he likes, and as much as the message with the password holds
// (maxKeyMessageSAML), before anything is proved. What outlives that message, in memory or in a log, is bounded here.

// maxSaid bounds each thing that is kept of what a client says of itself, bytes.
const maxSaid = 255

// said is what is kept of s: a copy, since s may be a part of something much longer.
func said(s string) string {
	if len(s) > maxSaid {
		return strings.ToValidUTF8(s[:maxSaid], "") // which is not cut within a letter
	}
	return strings.Clone(s)
}

// known is what is kept of the peer info of a client (IV_* and UV_*).
func known(info map[string]string) map[string]string {
	out := map[string]string{}
	for _, name := range []string{"IV_VER", "IV_PLAT", "IV_PLAT_VER", "IV_GUI_VER", "IV_MTU", "IV_HWADDR", "UV_ID"} {
		if v, there := info[name]; there {
			out[name] = said(v)
		}
	}
	return out
}
