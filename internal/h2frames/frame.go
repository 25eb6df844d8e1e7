package h2frames

// Sizes of frames: the one that clients take who say nothing of it, and the one
// that net/http is told to fill.
const (
	Small = 16 << 10
	Large = 128 << 10
)

const (
	frameHeader = 9
	settingSize = 6
)

func frameSize(header []byte) int { return int(header[0])<<16 | int(header[1])<<8 | int(header[2]) }

func setFrameSize(header []byte, n int) {
	header[0], header[1], header[2] = byte(n>>16), byte(n>>8), byte(n)
}
