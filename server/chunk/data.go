package chunk

// Data appends the bytes of chunks' data one after another, with memory that it uses
// again for those that are not encoded yet.
type Data struct {
	times  []int64
	values []float64
}

// Append appends what c.Data.Bytes returns to dst.
func (d *Data) Append(dst []byte, c *Chunk) []byte {
	points, ok := c.Data.(floats)
	if !ok {
		return append(dst, c.Data.Bytes()...)
	}
	d.times, d.values = d.times[:0], d.values[:0]
	for _, p := range points {
		d.times, d.values = append(d.times, p.T), append(d.values, p.V)
	}
	return AppendXOR(dst, d.times, d.values)
}
