package segment

import "testing"

func benchBlocks(series, size, rounds int) (*world, []*Block) {
	w := newWorld(series)
	var blocks []*Block
	for range rounds {
		w.time += 15000
		for i := 0; i < series; i += size {
			blocks = append(blocks, w.block(i, size))
		}
	}
	return w, blocks
}

func BenchmarkEncodeBlock(b *testing.B) {
	const size = 2000
	_, blocks := benchBlocks(20*size, size, 20)
	start := newWorld(20 * size).keyframe()
	e := NewEncoder()
	var buf []byte
	var bytes, samples int
	begin := func() {
		var err error
		buf = e.StartSegment(buf[:0], Header{FirstSequence: 1})
		if buf, err = e.AppendKeyframe(buf[:0], start, 0, 0); err != nil {
			b.Fatal(err)
		}
	}
	begin()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i > 0 && i%len(blocks) == 0 {
			b.StopTimer()
			begin()
			b.StartTimer()
		}
		var err error
		buf, err = e.AppendBlock(buf[:0], blocks[i%len(blocks)], 0)
		if err != nil {
			b.Fatal(err)
		}
		bytes += len(buf)
		samples += size
	}
	b.ReportMetric(float64(samples)/b.Elapsed().Seconds()/1e6, "Msamples/s")
	b.ReportMetric(float64(bytes)/float64(samples), "B/sample")
}

func BenchmarkDecodeBlock(b *testing.B) {
	const size = 2000
	_, blocks := benchBlocks(20*size, size, 20)
	e := NewEncoder()
	head := e.StartSegment(nil, Header{FirstSequence: 1})
	key, err := e.AppendKeyframe(nil, newWorld(20*size).keyframe(), 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	var frames [][]byte
	for _, x := range blocks {
		f, err := e.AppendBlock(nil, x, 0)
		if err != nil {
			b.Fatal(err)
		}
		frames = append(frames, f)
	}
	d := NewDecoder()
	var out Block
	begin := func() {
		if _, err := d.StartSegment(head); err != nil {
			b.Fatal(err)
		}
		h, err := ParseFrameHeader(key)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Keyframe(&h, key[FrameHeaderSize:], &Keyframe{}); err != nil {
			b.Fatal(err)
		}
	}
	begin()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i > 0 && i%len(frames) == 0 {
			b.StopTimer()
			begin()
			b.StartTimer()
		}
		f := frames[i%len(frames)]
		h, err := ParseFrameHeader(f)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Block(&h, f[FrameHeaderSize:], &out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*size/b.Elapsed().Seconds()/1e6, "Msamples/s")
}

// newSeries returns a world and blocks that introduce all of its series.
func newSeries(series, size int) []*Block {
	w := newWorld(series)
	var blocks []*Block
	for first := 0; first < series; first += size {
		b := w.block(first, size)
		b.Series = w.series(first, size)
		blocks = append(blocks, b)
	}
	return blocks
}

// BenchmarkEncodeSeries encodes blocks of 2000 series that are seen for the
// first time.
func BenchmarkEncodeSeries(b *testing.B) {
	blocks := newSeries(40000, 2000)
	e := NewEncoder()
	var buf []byte
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if i%len(blocks) == 0 {
			b.StopTimer()
			e.StartSegment(nil, Header{FirstSequence: 1})
			if _, err := e.AppendKeyframe(nil, &Keyframe{NextRef: 1, Last: true}, 0, 0); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		var err error
		if buf, err = e.AppendBlock(buf[:0], blocks[i%len(blocks)], 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mseries/s")
}

// BenchmarkDecodeSeries is the reverse.
func BenchmarkDecodeSeries(b *testing.B) {
	e := NewEncoder()
	frames := [][]byte{e.StartSegment(nil, Header{FirstSequence: 1})}
	key, err := e.AppendKeyframe(nil, &Keyframe{NextRef: 1, Last: true}, 0, 0)
	if err != nil {
		b.Fatal(err)
	}
	frames = append(frames, key)
	for _, x := range newSeries(40000, 2000) {
		f, err := e.AppendBlock(nil, x, 0)
		if err != nil {
			b.Fatal(err)
		}
		frames = append(frames, f)
	}
	d := NewDecoder()
	var out Block
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		n := i % (len(frames) - 2)
		if n == 0 {
			b.StopTimer()
			if _, err := d.StartSegment(frames[0]); err != nil {
				b.Fatal(err)
			}
			h, err := ParseFrameHeader(frames[1])
			if err != nil {
				b.Fatal(err)
			}
			if err := d.Keyframe(&h, frames[1][FrameHeaderSize:], &Keyframe{}); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		f := frames[n+2]
		h, err := ParseFrameHeader(f)
		if err != nil {
			b.Fatal(err)
		}
		if err := d.Block(&h, f[FrameHeaderSize:], &out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(2000*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mseries/s")
}
