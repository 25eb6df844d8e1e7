package h2frames

// Sizes of DATA frames: the one that a client accepts which does not say, and the
// one that net/http is told to fill.
const (
	Small = 16 << 10
	Large = 128 << 10
)

const (
	headerSize  = 9
	settingSize = 6
)

func payloadSize(header []byte) int {
	return int(header[0])<<16 | int(header[1])<<8 | int(header[2])
}

func setPayloadSize(header []byte, n int) {
	header[0], header[1], header[2] = byte(n>>16), byte(n>>8), byte(n)
}

// frame is how much has passed of the frame that is under way, in one direction of
// a connection.
type frame struct {
	header  [headerSize]byte
	got     int // bytes of the header, while it is incomplete
	payload int // bytes of the payload that are still to come
}

// between says that no frame is under way.
func (f *frame) between() bool { return f.got == 0 && f.payload == 0 }

// readHeader reads the next header from p, or as much as there is of it. It returns
// how many bytes it read, and whether the header is complete.
func (f *frame) readHeader(p []byte) (n int, complete bool) {
	n = copy(f.header[f.got:], p)
	if f.got += n; f.got < headerSize {
		return n, false
	}
	f.got, f.payload = 0, payloadSize(f.header[:])
	return n, true
}
