package cursor

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// KeySize is how many bytes a key has.
const KeySize = chacha20poly1305.KeySize

// Key seals and opens cursors.
type Key [KeySize]byte

// sealedPrefix is what no other cursor begins with.
const sealedPrefix = "s."

// paddedSizes are what cursors of so many logs are filled up to before they are sealed,
// with the longest position at all: their length tells nothing of how many blocks there
// are, and of the logs only whether they are one or two, a few, or many.
var paddedSizes = [...]struct{ logs, bytes int }{
	{2, 2*longestPosition + restOfWire},
	{8, 8*longestPosition + restOfWire},
	{MaxLogs, MaxLogs*longestPosition + restOfWire},
	{MaxPositions, MaxPositions*longestPosition + restOfWire},
}

// Within a snapshot a position is longer, and then it is the only one.
const (
	longestPosition = 39
	restOfWire      = 14 // since, the beginning, and the end
)

// endOfWire follows the cursor, and zeros follow that.
const endOfWire = 0x80

// The errors of a cursor that is not the caller's.
var (
	errNotSealed = errors.New("the cursor is not sealed, as all are that this caller gets; it was given to another, or before what the caller may read was restricted")
	errNotOpened = errors.New("the cursor cannot be opened: it was given to another policy, its key is among the keys of cursors no more, or it is damaged")
)

// Seal returns a token that tells nothing of what it stands for, and that can be opened
// for the same owner only.
func (c *Cursor) Seal(key Key, owner string) string {
	wire := append(c.wire(), endOfWire)
	for _, size := range paddedSizes {
		if len(c.Positions) <= size.logs {
			wire = append(wire, make([]byte, max(0, size.bytes-len(wire)))...)
			break
		}
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(wire)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // never fails
	return sealedPrefix + base64.RawURLEncoding.EncodeToString(aead(key).Seal(nonce, nonce, wire, context(owner)))
}

// Open reads what Seal returned for the same owner and one of the keys.
func Open(token string, keys []Key, owner string) (*Cursor, error) {
	text, sealed := strings.CutPrefix(token, sealedPrefix)
	if !sealed {
		return nil, errNotSealed
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("cursor is not base64url: %w", err)
	}
	if len(b) < chacha20poly1305.NonceSizeX {
		return nil, errNotOpened
	}
	nonce, sealedWire := b[:chacha20poly1305.NonceSizeX], b[chacha20poly1305.NonceSizeX:]
	for _, key := range keys {
		wire, err := aead(key).Open(nil, nonce, sealedWire, context(owner))
		if err != nil {
			continue
		}
		end := len(wire)
		for end > 0 && wire[end-1] == 0 {
			end--
		}
		if end == 0 || wire[end-1] != endOfWire {
			return nil, errNotOpened
		}
		return parse(wire[:end-1])
	}
	return nil, errNotOpened
}

// IsSealed says whether a token is what Seal returns.
func IsSealed(token string) bool { return strings.HasPrefix(token, sealedPrefix) }

func aead(key Key) cipher.AEAD {
	a, _ := chacha20poly1305.NewX(key[:]) // fails only for another size
	return a
}

// context is what a sealed cursor is bound to.
func context(owner string) []byte { return []byte("promgrpc cursor of " + owner) }
