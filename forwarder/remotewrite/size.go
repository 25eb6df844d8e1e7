package remotewrite

import "unsafe"

// Size is how many bytes of memory a decoded request takes, which may be many times
// that of its body: a symbol, a sample or a label of a few bytes has a place in a
// column.
func (r *Request) Size() int64 {
	n := len(r.body) + len(r.scratch) + len(r.wire)
	n += sizeOf(r.symbols) + sizeOf(r.hashes) + sizeOf(r.hashesB)
	n += sizeOf(r.Series) + sizeOf(r.Samples) + sizeOf(r.Histograms) + sizeOf(r.Exemplars)
	n += sizeOf(r.Meta) + sizeOf(r.Families) + sizeOf(r.dictionary.labels)
	return int64(n)
}

func sizeOf[T any](s []T) int {
	var one T
	return len(s) * int(unsafe.Sizeof(one))
}
