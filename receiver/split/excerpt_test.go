package split

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/s2"
	"github.com/prometheus/prometheus/prompb"
	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/placement"
)

// compressors of senders, and what S2 makes, which has elements of its own.
var compressors = map[string]func(dst, src []byte) []byte{
	"snappy": snappy.Encode, "fast": s2.EncodeSnappy, "best": s2.EncodeSnappyBest, "S2": s2.EncodeBest,
}

// requireParts checks that a body is split into what belongs to each group, and returns how long
// all parts are.
func requireParts(t *testing.T, r *Rule, body *prompb.WriteRequest, compressed []byte) (all int) {
	t.Helper()
	parts, err := r.Split(V1, compressed, unbounded)
	require.NoError(t, err)
	got := map[int]string{}
	for i := range parts {
		decoded, err := snappy.Decode(nil, parts[i].Body)
		require.NoError(t, err)
		var part prompb.WriteRequest
		require.NoError(t, part.Unmarshal(decoded))
		require.Len(t, part.Timeseries, parts[i].Series)
		got[parts[i].Group] = part.String()
		all += len(parts[i].Body)
		parts[i].Release()
	}
	require.Equal(t, wanted(r, body), got)
	return all
}

// However a body is compressed, and whatever the runs are, its parts say the same, and are
// hardly longer.
func TestExcerpts(t *testing.T) {
	r := rule(t, placement.ByLabels, names(4))
	for name, compress := range compressors {
		for _, ofTarget := range []int{1, 10, 100} {
			body := targets(generator{rand.New(rand.NewPCG(17, 18))}, 600, ofTarget)
			raw, err := body.Marshal()
			require.NoError(t, err)
			compressed := compress(nil, raw)
			all := requireParts(t, &r, body, compressed)
			require.LessOrEqual(t, all, max(len(compressed), len(snappy.Encode(nil, raw)))*5/4+8<<10, "%s, %d series of a target", name, ofTarget)
		}
	}
}

// Parts of long runs consist of what the body does.
func TestElementsAreTakenOver(t *testing.T) {
	r := rule(t, placement.ByLabels, names(2))
	raw, err := targets(generator{rand.New(rand.NewPCG(19, 20))}, 2000, 500).Marshal()
	require.NoError(t, err)
	compressed := snappy.Encode(nil, raw)
	parts, err := r.Split(V1, compressed, unbounded)
	require.NoError(t, err)
	require.Len(t, parts, 2)
	const size = 16
	pieces, same := 0, 0
	for i := range parts {
		for piece := range slices.Chunk(parts[i].Body, size) {
			pieces++
			if bytes.Contains(compressed, piece) {
				same++
			}
		}
		parts[i].Release()
	}
	require.Greater(t, same, pieces/2)
}

// Blocks of every kind of element are excerpted: those that encoders write, and those that they
// could.
func TestRandomBlocks(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	g := generator{random}
	r := rule(t, placement.ByLabels, names(3))
	for range 100 {
		var body *prompb.WriteRequest
		if random.IntN(2) == 0 {
			body = targets(g, 1+random.IntN(60), 1+random.IntN(20))
		} else {
			body = g.body()
			body.Metadata = nil
			body.Timeseries = append(body.Timeseries, g.series())
		}
		raw, err := body.Marshal()
		require.NoError(t, err)
		requireParts(t, &r, body, randomBlock(random, raw))
	}
}

// randomBlock compresses at random: with elements of all kinds, offsets and lengths.
func randomBlock(random *rand.Rand, raw []byte) []byte {
	block := binary.AppendUvarint(nil, uint64(len(raw)))
	known := map[string][]int{} // where four bytes were
	for i := 0; i < len(raw); {
		n := min(1+random.IntN([]int{8, 64, 300, 1 << 10}[random.IntN(4)]), len(raw)-i)
		offset := 0
		if i+4 <= len(raw) {
			if at := known[string(raw[i:i+4])]; len(at) > 0 && random.IntN(8) > 0 {
				offset = i - at[random.IntN(len(at))]
				n = 4
				for most := 4 + random.IntN(61); n < most && i+n < len(raw) && raw[i+n] == raw[i+n-offset]; {
					n++
				}
			}
		}
		if offset > 0 {
			block = randomCopy(random, block, offset, n)
		} else {
			block = randomLiteral(random, block, raw[i:i+n])
		}
		for end := i + n; i < end; i++ {
			if i+4 <= len(raw) {
				known[string(raw[i:i+4])] = append(known[string(raw[i:i+4])], i)
			}
		}
	}
	return block
}

func randomCopy(random *rand.Rand, block []byte, offset, n int) []byte {
	kind := random.IntN(3)
	switch {
	case kind == 0 && n < 12 && offset < 1<<11:
		return append(block, byte(offset>>8<<5|(n-4)<<2|tagCopy1), byte(offset))
	case kind < 2 && offset < 1<<16:
		return binary.LittleEndian.AppendUint16(append(block, byte((n-1)<<2|tagCopy2)), uint16(offset))
	}
	return binary.LittleEndian.AppendUint32(append(block, byte((n-1)<<2|tagCopy4)), uint32(offset))
}

func randomLiteral(random *rand.Rand, block, b []byte) []byte {
	n, bytes := len(b)-1, random.IntN(5) // of the length
	switch {
	case n < 60 && bytes == 0:
		block = append(block, byte(n<<2))
	default:
		for n>>(8*bytes) > 0 || bytes == 0 {
			bytes++
		}
		block = append(block, byte((59+bytes)<<2))
		for ; bytes > 0; bytes-- {
			block = append(block, byte(n))
			n >>= 8
		}
	}
	return append(block, b...)
}

// FuzzExcerpt splits blocks that nobody's encoder has made: whatever their elements, the parts
// say what those of the same body do that snappy compressed.
func FuzzExcerpt(f *testing.F) {
	random := rand.New(rand.NewPCG(23, 24))
	for range 10 {
		raw, err := targets(generator{random}, 5+random.IntN(20), 5).Marshal()
		require.NoError(f, err)
		f.Add(randomBlock(random, raw))
		f.Add(s2.EncodeBest(nil, raw))
	}
	r := rule(f, placement.ByLabels, names(3))
	decoded := func(t *testing.T, compressed []byte) map[int]string {
		parts, err := r.Split(V1, compressed, unbounded)
		if err != nil {
			require.ErrorIs(t, err, ErrDamaged)
			return nil
		}
		all := map[int]string{}
		for i := range parts {
			said, err := s2.Decode(nil, parts[i].Body)
			require.NoError(t, err)
			all[parts[i].Group] = string(said)
			parts[i].Release()
		}
		return all
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		if n, err := s2.DecodedLen(block); err != nil || n > 1<<20 {
			return
		}
		raw, err := s2.Decode(nil, block)
		got := decoded(t, block)
		if err != nil {
			require.Nil(t, got)
			return
		}
		if got != nil {
			require.Equal(t, decoded(t, snappy.Encode(nil, raw)), got)
		}
	})
}
