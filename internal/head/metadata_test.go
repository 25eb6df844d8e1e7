package head_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestMetadataIsCopiedOnceAChange checks that those who ask for all metadata again and
// again do not keep whoever applies blocks waiting while it is copied.
func TestMetadataIsCopiedOnceAChange(t *testing.T) {
	h := head.New()
	var want []segment.Metadata
	for i := range 1000 {
		want = append(want, segment.Metadata{Family: fmt.Sprintf("%04d", i)})
	}
	apply(t, h, &segment.Block{Sequence: 1, Metadata: want})
	for sequence := uint64(2); sequence < 5; sequence++ {
		got := h.Metadata()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("before block %d, want -, got +:\n%s", sequence, diff)
		}
		if n := testing.AllocsPerRun(10, func() { h.Metadata() }); n > 0 {
			t.Errorf("%v allocations for what has not changed", n)
		}
		want = append([]segment.Metadata(nil), want...)
		want[sequence].Help = "new"
		apply(t, h, &segment.Block{Sequence: sequence, Metadata: want[sequence : sequence+1]})
		if got[sequence].Help != "" {
			t.Error("what was returned before has changed")
		}
	}
}
