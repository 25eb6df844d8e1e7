package window

// MostExemplars is how many a log has at most.
const MostExemplars = mostExemplars

// Bytes is what all windows take.
func (m *Memory) Bytes() int64 { return m.bytes.Load() }
