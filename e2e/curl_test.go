//go:build debian || compose

package e2e

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"testing"
)

// TestCurl calls the API with nothing but HTTP.
func TestCurl(t *testing.T) {
	t.Parallel()
	address := startAnswer(t)

	t.Run("unary", func(t *testing.T) {
		out := run(t, nil, "curl", "-sS", "--fail-with-body", "--http1.1",
			"-H", "Content-Type: application/json", "-d", "{}", "http://"+address+"/"+service+"/GetStatus")
		contains(t, out, `"ready":true`, `"cursor":"`)
	})

	// A Connect stream is a sequence of messages, each after a byte of flags and
	// four of length; so is its request. The same in a shell:
	//	printf '\0\0\0\0\2{}' | curl -H 'Content-Type: application/connect+json' --data-binary @- …
	t.Run("stream", func(t *testing.T) {
		out := run(t, envelope(`{"selectors":["answer"]}`), "curl", "-sS", "--fail-with-body", "--http1.1",
			"-H", "Content-Type: application/connect+json", "--data-binary", "@-", "http://"+address+"/"+service+"/GetMetrics")
		var text []byte
		for len(out) >= 5 {
			size := binary.BigEndian.Uint32(out[1:5])
			if int(size) > len(out)-5 {
				t.Fatalf("an envelope of %d bytes, of which %d came", size, len(out)-5)
			}
			message := out[5 : 5+size]
			if !json.Valid(message) {
				t.Errorf("not JSON: %s", message)
			}
			text = fmt.Appendf(text, "%d %s\n", out[0], message)
			out = out[5+size:]
		}
		// A flag of 2 marks the end of the stream; an error would be in it.
		contains(t, text, `"value":42`, `"end":{}`, "\n2 {}\n")
	})
}

func envelope(message string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
}
