package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

func kept(log byte, first uint64, age time.Duration, size int64) Kept {
	at := start.Add(-age)
	return Kept{Log: segment.LogID{log}, Segment: segmentName(first), First: first, Size: size, Written: at, Modified: at.Add(time.Minute)}
}

func firsts(kept []Kept) []uint64 {
	found := []uint64{}
	for _, k := range kept {
		found = append(found, k.First)
	}
	return found
}

func TestExpired(t *testing.T) {
	ahead := kept(1, 1, 3*time.Hour, 10)
	ahead.Written = start.Add(100 * time.Hour)
	for name, c := range map[string]struct {
		kept []Kept
		age  time.Duration
		size int64
		want []uint64
	}{
		"nothing is configured":    {kept: []Kept{kept(1, 1, time.Hour, 10), kept(1, 2, 0, 10)}, want: []uint64{}},
		"by age":                   {kept: []Kept{kept(1, 1, 3*time.Hour, 10), kept(1, 2, 2*time.Hour, 10), kept(1, 3, time.Hour, 10)}, age: 90 * time.Minute, want: []uint64{1, 2}},
		"the newest of a log":      {kept: []Kept{kept(1, 1, 3*time.Hour, 10), kept(2, 5, 9*time.Hour, 10)}, age: time.Minute, want: []uint64{}},
		"by size, over all logs":   {kept: []Kept{kept(1, 1, 3*time.Hour, 10), kept(1, 4, 0, 10), kept(2, 2, 4*time.Hour, 10), kept(2, 3, 0, 10)}, size: 30, want: []uint64{2}},
		"a writer's clock ahead":   {kept: []Kept{ahead, kept(1, 2, 0, 10)}, age: time.Hour, want: []uint64{1}},
		"not before what precedes": {kept: []Kept{kept(1, 1, time.Hour, 10), kept(1, 2, 9*time.Hour, 10), kept(1, 3, 0, 10)}, age: 2 * time.Hour, want: []uint64{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Expired(c.kept, start, c.age, c.size)
			require.Equal(t, c.want, firsts(got))
			for id, first := range Floors(c.kept, got) {
				for _, k := range got {
					require.True(t, k.Log != id || k.First < first)
				}
			}
		})
	}
}

func TestFloors(t *testing.T) {
	floors := map[segment.LogID]uint64{{1}: 5, {2}: 1 << 60}
	require.Equal(t, floors, ParseFloors(string(FormatFloors(floors))))
	require.Empty(t, ParseFloors("x 1\n\n"+segment.LogID{1}.String()+" -1\n"))
}

func FuzzParseFloors(f *testing.F) {
	f.Add(segment.LogID{1}.String() + " 12\n")
	f.Fuzz(func(t *testing.T, text string) {
		floors := ParseFloors(text)
		require.Equal(t, floors, ParseFloors(string(FormatFloors(floors))))
	})
}

// TestLease checks that a lease is waited for by each server's own clock.
func TestLease(t *testing.T) {
	l := NewLease(start, time.Minute)
	_, ok := l.Try(start.Add(59 * time.Second))
	require.False(t, ok)
	l.Known(start.Add(30*time.Second), 7)
	_, ok = l.Try(start.Add(80 * time.Second))
	require.False(t, ok)
	n, ok := l.Try(start.Add(90 * time.Second))
	require.True(t, ok)
	require.EqualValues(t, 8, n)
	now := start.Add(91 * time.Second)
	l.Known(now, 8)
	require.True(t, l.Holds(now, 8, now))
	require.False(t, l.Holds(now.Add(30*time.Second), 8, now))
	l.Known(now, 9)
	require.False(t, l.Holds(now, 8, now))
}

func TestFill(t *testing.T) {
	stored := []Stored{{segmentName(1), 1, 10, 100}, {segmentName(11), 11, 20, 100}, {segmentName(21), 21, 25, 60}}
	begin := Take{Segment: segmentName(21), First: 21, Start: true, Size: 60}
	for name, c := range map[string]struct {
		have   *Segment
		stored []Stored
		want   []Take
	}{
		"nothing there":            {want: nil},
		"nothing here":             {stored: stored, want: []Take{begin}},
		"a hole, and nothing here": {stored: []Stored{stored[0], {segmentName(11), 11, 10, 40}, stored[2]}, want: []Take{{Segment: segmentName(11), First: 11, Start: true, Size: 40}}},
		"a segment is missing":     {stored: []Stored{stored[0], stored[2]}, want: []Take{{Segment: segmentName(1), First: 1, Start: true, Size: 100}}},
		"up to a hole":             {have: &Segment{Name: segmentName(1), First: 1, Last: 10, Size: 100}, stored: []Stored{stored[0], stored[1], {segmentName(30), 30, 40, 10}}, want: []Take{{Segment: segmentName(11), First: 11, Start: true, Size: 100}}},
		"behind in the newest":     {have: &Segment{Name: segmentName(21), First: 21, Last: 22, Size: 30}, stored: stored, want: []Take{{Segment: segmentName(21), First: 21, Offset: 30, Size: 60}}},
		"behind in pieces":         {have: &Segment{Name: segmentName(21), First: 21, Last: 22, Size: 30}, stored: []Stored{{segmentName(21), 21, 20, 60}}, want: []Take{{Segment: segmentName(21), First: 21, Offset: 30, Size: 60}}},
		"ahead of it":              {have: &Segment{Name: segmentName(21), First: 21, Last: 29, Size: 90}, stored: stored},
		"behind by segments":       {have: &Segment{Name: segmentName(1), First: 1, Last: 5, Size: 50}, stored: stored, want: []Take{{Segment: segmentName(1), First: 1, Offset: 50, Size: 100}, begin}},
		"at the end of a segment":  {have: &Segment{Name: segmentName(11), First: 11, Last: 20, Size: 100, Sealed: true}, stored: stored, want: []Take{begin}},
		"with a hole":              {have: &Segment{Name: segmentName(1), First: 1, Last: 10, Size: 100}, stored: []Stored{stored[0], stored[2]}},
		"older than all":           {have: &Segment{Name: segmentName(1), First: 1, Last: 10, Size: 100}, stored: stored[2:]},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, Fill(c.have, c.stored)) })
	}
}
