//go:build invariants

package head

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

// A write to a page that a view holds does not go unnoticed.
func TestViewIsChecked(t *testing.T) {
	h := New()
	b := &segment.Block{Sequence: 1, Series: segment.TableOf(segment.Series{Ref: 1})}
	b.Samples.Add(segment.Sample{Ref: 1, Value: 1})
	require.NoError(t, h.ApplyBlock(b))
	v := h.View()
	h.pages.list[0].value[0]++ // without a copy
	require.Panics(t, v.Release)
}
