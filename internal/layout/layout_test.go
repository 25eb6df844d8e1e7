package layout

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/segment"
)

var logID = segment.LogID{1}

func segmentName(first uint64) string {
	return fmt.Sprintf("20260102T030405.000Z-%020d.seg", first)
}

// TestNames checks that names are read as they were written, and no others.
func TestNames(t *testing.T) {
	for _, o := range []Object{
		{Log: logID, Segment: segmentName(7)},
		{Log: logID, Segment: segmentName(7), Piece: true},
		{Log: logID, Segment: segmentName(7), Piece: true, Offset: 1 << 40},
	} {
		got, ok := ParseName(o.Name())
		require.True(t, ok, o.Name())
		require.Equal(t, o, got)
	}
	for _, name := range []string{"", "x", "leases/retention-1", logID.String(), logID.String() + "/x", logID.String() + "/" + segmentName(1) + ".part/1", logID.String() + "/" + segmentName(1) + ".part/99999999999999999999", logID.String() + "/" + segmentName(1) + "/x"} {
		_, ok := ParseName(name)
		require.False(t, ok, name)
	}
	n, ok := ParseLease(LeaseName(12))
	require.True(t, ok)
	require.EqualValues(t, 12, n)
	_, ok = ParseLease(leasePrefix + "012")
	require.False(t, ok)
}

func FuzzParseName(f *testing.F) {
	f.Add(Object{Log: logID, Segment: segmentName(7), Piece: true, Offset: 9}.Name())
	f.Fuzz(func(t *testing.T, name string) {
		if o, ok := ParseName(name); ok {
			require.Equal(t, name, o.Name())
		}
		if n, ok := ParseLease(name); ok {
			require.Equal(t, name, LeaseName(n))
		}
	})
}

func TestChain(t *testing.T) {
	whole := []Piece{{0, 10}, {10, 5}, {15, 1}}
	for _, test := range []struct{ pieces, want []Piece }{
		{nil, nil},
		{whole, whole},
		{whole[1:], []Piece{}},
		{[]Piece{{0, 10}, {11, 5}}, whole[:1]},
		{[]Piece{{0, 10}, {10, 0}}, whole[:1]},
	} {
		assert.Equal(t, test.want, Chain(test.pieces), "%v", test.pieces)
	}
}
