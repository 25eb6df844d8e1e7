package placement

import "github.com/cespare/xxhash/v2"

// Key is what decides, as a number: the values of a series' labels, its sender, or its
// tenant. It is the same everywhere, for good.
type Key uint64

// KeyOf returns the key of values: those of [Placement.Labels], of which a missing one is
// empty; or a tenant; or what names a sender.
func KeyOf(values ...string) (k Key) {
	for _, value := range values {
		k = k.with(xxhash.Sum64String(value))
	}
	return k
}

// With returns the key of one value more.
func (k Key) With(value []byte) Key { return k.with(xxhash.Sum64(value)) }

func (k Key) with(hash uint64) Key { return Key(mix(uint64(k) ^ hash)) }

// mix spreads the bits of a number: it is splitmix64's.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
