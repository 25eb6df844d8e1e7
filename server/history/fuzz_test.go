package history

import (
	"bytes"
	"io"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/server/chunk"
	"github.com/promgrpc/exporter/server/internal/selectiontest"
	"github.com/promgrpc/exporter/server/postings"
)

// content returns a part of a log of so many blocks.
func content(t testing.TB, blocks int) []byte {
	w := filled(t, blocks)
	s := openStore(t, w, options())
	defer closeStore(t, s)
	found(t, s, w.log(), selections(t)[0], math.MinInt64, math.MaxInt64)
	b, err := os.ReadFile(partsOf(t, s)[0])
	require.NoError(t, err)
	return b
}

// readAll reads a part as selections and merges do.
func readAll(t *testing.T, r io.ReaderAt, size int64) {
	p, err := openPart(r, size)
	if err != nil {
		return
	}
	e := selectiontest.Evaluation(t.Context())
	defer e.End()
	for _, sel := range selections(t) {
		l := newLookup(e, p)
		matches, err := postings.Find(e, l, sel)
		if err != nil {
			require.ErrorIs(t, err, errDamaged)
			l.end()
			continue
		}
		for id := range matches.Each {
			series, err := l.seriesAt(id)
			if err != nil {
				require.ErrorIs(t, err, errDamaged)
				break
			}
			if _, err := l.labelsOf(series.row); err != nil {
				require.ErrorIs(t, err, errDamaged)
			}
			x := extents{r: r, limit: p.sections[ofSeries][0]}
			b, err := x.read(series.offset, series.length)
			require.NoError(t, err)
			for len(b) > 0 && err == nil {
				_, b, err = chunk.Decode(b)
			}
		}
		l.end()
	}
}

// FuzzPart reads anything as a part.
func FuzzPart(f *testing.F) {
	whole := content(f, 4)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) { readAll(t, bytes.NewReader(b), int64(len(b))) })
}

// FuzzBlocks reads anything as the blocks of a part, whose checksums are right.
func FuzzBlocks(f *testing.F) {
	whole := content(f, 4)
	p, err := openPart(bytes.NewReader(whole), int64(len(whole)))
	require.NoError(f, err)
	directory := whole[p.directory:][:p.length]
	f.Add(directory, uint16(p.count))
	for section := range p.sections {
		r, err := p.block(section, 0)
		require.NoError(f, err)
		f.Add(r.b, uint16(p.count))
	}
	f.Fuzz(func(t *testing.T, b []byte, count uint16) {
		q := *p
		q.count = uint64(count)
		if q.readDirectory(&fields{b: b}) {
			for _, s := range q.sections {
				for i := 1; i < len(s); i++ {
					require.True(t, s[i-1] <= s[i] && s[i] <= int64(q.directory))
				}
			}
		}
		q = *p
		q.count = uint64(count)
		var series seriesBlock
		if count > 0 && q.parseSeries(&fields{b: b}, 0, &series) {
			require.Len(t, series.entries, min(perBlock, int(count)))
			for _, s := range series.entries {
				require.True(t, s.offset >= headSize && s.offset+int64(s.length) <= q.sections[ofSeries][0])
				for _, n := range s.row {
					require.Less(t, int(n), q.labels)
				}
			}
		}
		if values, ok := parseValues(&fields{b: b}, int(count)); ok {
			require.Len(t, values, int(count))
		}
		if runs, ok := readRuns(b, uint64(count)); ok {
			end := uint32(0)
			for _, r := range runs {
				require.True(t, r.From >= end && r.To > r.From && r.To <= uint32(count))
				end = r.To
			}
		}
	})
}

// A part whose bytes are changed anywhere is read as it was or as damaged.
func TestChangedParts(t *testing.T) {
	whole := content(t, 30)
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 1 << (i % 8)
		if _, err := openPart(bytes.NewReader(b), int64(len(b))); err != nil {
			require.ErrorIs(t, err, errDamaged)
		}
		if i%97 == 0 {
			readAll(t, bytes.NewReader(b), int64(len(b)))
		}
	}
}
