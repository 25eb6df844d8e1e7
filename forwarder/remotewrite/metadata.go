package remotewrite

import (
	"unicode/utf8"

	"github.com/promgrpc/exporter/internal/limit"
)

// fit makes metadata fit the limits before it costs any work. A help text that is too
// long is cut: whoever scrapes did not write it, and a 400 for every request would look
// like lost samples. A name or a unit would become another one, so those are refused.
func (r *Request) fit(m *Metadata) error {
	most := r.limits.MetadataBytes
	switch {
	case len(m.Family) > r.limits.ValueBytes:
		return limit.Over(flagValueBytes, "a name of %d bytes, the limit is %d", len(m.Family), r.limits.ValueBytes)
	case len(m.Unit) > most:
		return limit.Over(flagMetadataBytes, "a unit of %d bytes, the limit is %d", len(m.Unit), most)
	case len(m.Help) > most:
		r.Problems.countLimit(limit.Over(flagMetadataBytes, "a help text of %d bytes, the limit is %d", len(m.Help), most))
		m.Help = cutText(m.Help, most)
	}
	return nil
}

// cutText returns so many bytes of a text, or up to three fewer so as not to
// break a character.
func cutText(b []byte, n int) []byte {
	for i := n; i > max(n-utf8.UTFMax, 0); i-- {
		if utf8.RuneStart(b[i]) {
			return b[:i]
		}
	}
	return b[:n]
}
