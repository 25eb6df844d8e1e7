package placement

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The ways in which a placement may not follow another.
var (
	// ErrOlder: it has a lower version.
	ErrOlder = errors.New("an older version of the groups file")
	// ErrOther: it has the same version, and says something else.
	ErrOther = errors.New("another groups file of the same version")
	// ErrPast: it changes what counts already, or too soon.
	ErrPast = errors.New("a groups file that changes what counts already")
)

// Follow returns nil if next may take the place of p, or says the same. What p says of the
// time until ms, the present and what can be under way, is as next says it. Its error is
// one of those above.
func (p *Placement) Follow(next *Placement, ms int64) error {
	switch {
	case bytes.Equal(next.bytes, p.bytes):
		return nil
	case next.version < p.version:
		return fmt.Errorf("%w: %d, and %d is known", ErrOlder, next.version, p.version)
	case next.version == p.version:
		return fmt.Errorf("%w, %d", ErrOther, p.version)
	case next.spread != p.spread || !slices.Equal(next.labels, p.labels):
		return fmt.Errorf("%w: version %d spreads series in another way than %d", ErrPast, next.version, p.version)
	}
	for i := range max(len(p.epochs), len(next.epochs)) {
		was, is := p.until(i, ms), next.until(i, ms)
		if was == nil && is == nil {
			return nil
		}
		if was == nil || is == nil || was.From != is.From || !slices.Equal(was.Groups, is.Groups) {
			return fmt.Errorf("%w: version %d and %d differ in the epoch %s", ErrPast, next.version, p.version, describe(is, was))
		}
	}
	return nil
}

// until returns an epoch that begins until ms, nil if there is none.
func (p *Placement) until(i int, ms int64) *epoch {
	if i >= len(p.epochs) || p.epochs[i].From > ms {
		return nil
	}
	return p.epochs[i]
}

// describe names the first of some epochs that there is.
func describe(epochs ...*epoch) string {
	for _, e := range epochs {
		switch {
		case e == nil:
		case e.From == Ever:
			return "that counts from ever on"
		default:
			return "from " + time.UnixMilli(e.From).UTC().Format(time.RFC3339Nano)
		}
	}
	return ""
}
