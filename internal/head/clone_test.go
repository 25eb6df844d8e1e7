package head_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/promgrpc/exporter/internal/head"
	"github.com/promgrpc/exporter/internal/segment"
)

// TestViewBetweenChunks takes a view between two chunks of a keyframe that both
// have series of one page of which few are left, and of which the first chunk
// drops one.
func TestViewBetweenChunks(t *testing.T) {
	const end = 4 // of the first chunk
	for name, begin := range map[string]int{"restores": end, "drops": end + 1} {
		t.Run("the second "+name, func(t *testing.T) {
			h, replica := head.New(), head.New()
			refs := churn(t, h, 3, 1024, func(i int) bool { return i%128 == 0 }, replica)
			last := &segment.Block{Sequence: h.Sequence() + 1, Time: 100, Samples: floats(refs, 100, 1)}
			apply(t, h, last)
			apply(t, replica, last)
			h.Expire(100, nil)
			keyframe(t, h, replica)

			chunk := func(refs []uint64, last bool) {
				t.Helper()
				k := &segment.Keyframe{Sequence: h.Sequence(), NextRef: h.NextRef(), Last: last}
				var table []segment.Series
				for _, ref := range refs {
					table = append(table, series(ref, "__name__", "m", "i", fmt.Sprint(ref)))
					k.Latest = append(k.Latest, segment.Latest{Timestamp: 100, Value: float64(ref), Written: 100})
				}
				k.Series = segment.TableOf(table...)
				if err := replica.ApplyKeyframe(k); err != nil {
					t.Fatal(err)
				}
			}
			first, second := refs[2:end], refs[begin:]
			chunk(first, false)
			view := replica.View()
			defer view.Release()
			chunk(second, true)

			want := slices.Concat(first, second)
			if replica.Len() != len(want) {
				t.Errorf("%d series, want %d", replica.Len(), len(want))
			}
			for _, ref := range want {
				if l, ok := replica.Latest(ref); !ok || l.Value != float64(ref) {
					t.Errorf("series %d: %v %v", ref, l.Value, ok)
				}
			}
		})
	}
}
