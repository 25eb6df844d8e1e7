package webconfig

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"github.com/prometheus/common/config"
)

// users are those who may call by name and password, none if no password is needed.
type users struct {
	hashes map[string]config.Secret
	names  []string
}

func newUsers(hashes map[string]config.Secret) users {
	return users{hashes, slices.Sorted(maps.Keys(hashes))}
}

// hash returns the hash that the password of a name is compared with. For a name that
// does not exist it is that of some user, always the same one: it costs what that costs.
func (u users) hash(seed []byte, name string) (hash config.Secret, known bool) {
	if hash, known = u.hashes[name]; known {
		return hash, true
	}
	at := binary.BigEndian.Uint64(digest(seed, name)) % uint64(len(u.names))
	return u.hashes[u.names[at]], false
}

// digest is what only this process can compute of texts, and nobody can go back from.
func digest(seed []byte, texts ...string) []byte {
	h := hmac.New(sha256.New, seed)
	for _, text := range texts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(text)))
		h.Write([]byte(text))
	}
	return h.Sum(nil)
}
