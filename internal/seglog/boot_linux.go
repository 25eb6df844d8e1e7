package seglog

import (
	"encoding/hex"
	"os"
	"strings"
)

func (osFS) Boot() bootID {
	var id bootID
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return bootID{}
	}
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "-", ""))
	if err != nil || len(b) != len(id) {
		return bootID{}
	}
	return bootID(b)
}
