package catalog

// names are those of metrics that a caller sees. They take room of the call.
type names struct {
	room  func(bytes int64) error
	seen  map[string]struct{}
	taken int64
}

// nameCost is what a name takes besides its bytes.
const nameCost = 64

func newNames(room func(bytes int64) error) *names {
	return &names{room: room, seen: map[string]struct{}{}}
}

func (n *names) add(name string) error {
	if n.has(name) {
		return nil
	}
	n.seen[name] = struct{}{}
	n.taken += nameCost + int64(len(name))
	return n.room(n.taken)
}

func (n *names) has(name string) bool {
	_, ok := n.seen[name]
	return ok
}
