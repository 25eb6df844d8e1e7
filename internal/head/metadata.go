package head

import (
	"cmp"
	"maps"
	"slices"

	"github.com/promgrpc/exporter/internal/segment"
)

// KeepFamily says whether the metadata of a family stays. live reports whether
// there is a series of a metric's name.
type KeepFamily func(m segment.Metadata, live func(name string) bool) bool

// listedMetadata is the metadata as a list, as of some change of it.
type listedMetadata struct {
	change uint64
	sorted []segment.Metadata
}

// Metadata returns the metadata of all metric families, sorted by name. It is shared
// and read-only. However many ask, it is copied once a change, since the applying
// goroutine waits for the copy.
func (h *Head) Metadata() []segment.Metadata {
	h.mu.RLock()
	change := h.metadataChange
	if l := h.listed.Load(); l != nil && l.change == change {
		h.mu.RUnlock()
		return l.sorted
	}
	all := slices.Collect(maps.Values(h.metadata))
	h.mu.RUnlock()
	slices.SortFunc(all, func(a, b segment.Metadata) int { return cmp.Compare(a.Family, b.Family) })
	h.listed.Store(&listedMetadata{change, all})
	return all
}

// metadataChanged forgets the list. The caller holds the lock.
func (h *Head) metadataChanged() {
	h.metadataChange++
	h.listed.Store(nil)
}

// HasMetadata reports whether there is metadata of a family.
func (h *Head) HasMetadata(family string) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	_, ok := h.metadata[family]
	return ok
}

// keptMetadata returns the metadata that the next keyframe holds, sorted by
// name, and the families that it leaves out.
func (h *Head) keptMetadata(live func(name string) bool) (kept []segment.Metadata, forgotten []string) {
	kept = slices.Clone(h.Metadata())
	kept = slices.DeleteFunc(kept, func(m segment.Metadata) bool {
		if metadataSize(&m) <= maxEntry && (h.keepFamily == nil || h.keepFamily(m, live)) {
			return false
		}
		forgotten = append(forgotten, m.Family)
		return true
	})
	return kept, forgotten
}

// metadataSize is about the size of an entry in a frame.
func metadataSize(m *segment.Metadata) int {
	return 16 + len(m.Family) + len(m.Help) + len(m.Unit)
}
