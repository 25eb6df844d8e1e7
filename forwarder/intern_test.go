package forwarder

import (
	"math/rand/v2"
	"testing"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
)

// BenchmarkIntern finds known series, in the order of the last time and in one
// that no guess can know.
func BenchmarkIntern(b *testing.B) {
	const series = 100_000
	keys := make([]remotewrite.Key, series)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range keys {
		keys[i] = remotewrite.Key{A: random.Uint64(), B: random.Uint64()}
	}
	in := newIntern()
	for i, key := range keys {
		in.follow(in.add(entry{key: key, ref: uint64(i + 1)}), key)
	}
	for name, order := range map[string]func(){
		"same order":  func() {},
		"other order": func() { random.Shuffle(series, func(i, j int) { keys[i], keys[j] = keys[j], keys[i] }) },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				order()
				b.StartTimer()
				in.begin()
				for _, key := range keys {
					_, ok := in.guess(key.A)
					if !ok {
						_, ok = in.find(key)
					}
					if !ok {
						b.Fatal("a known series was not found")
					}
				}
			}
			b.ReportMetric(series*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mseries/s")
		})
	}
}
