package plan

import "slices"

// Stored is a segment that the bucket has, sealed or in pieces.
type Stored struct {
	Name        string
	First, Last uint64 // Last is below First where it is not known
	Size        int64
}

// Take is what a server takes of a segment from the bucket: from an offset to its end.
// Start says that the segment is begun.
type Take struct {
	Segment string
	First   uint64
	Start   bool
	Offset  int64
	Size    int64 // of the whole
}

// Fill returns what a server takes from the bucket of a log: the rest of the segment that
// it has come to, and the newest, if the bucket has all between the two. What it leaves
// out can be read from the bucket. Nothing, if there would be a hole: others may have
// what the bucket lacks. have is the newest segment of the server, nil for none; stored
// is sorted.
func Fill(have *Segment, stored []Stored) []Take {
	if len(stored) == 0 {
		return nil
	}
	newest := stored[len(stored)-1]
	begin := Take{Segment: newest.Name, First: newest.First, Start: true, Size: newest.Size}
	if have == nil {
		return []Take{begin}
	}
	var takes []Take
	last := have.Last
	if i := slices.IndexFunc(stored, func(s Stored) bool { return s.Name == have.Name }); i >= 0 {
		same := stored[i]
		if same.Size > have.Size {
			takes = append(takes, Take{Segment: same.Name, First: same.First, Offset: have.Size, Size: same.Size})
			last = max(last, same.Last)
		}
	}
	if newest.First <= last {
		return takes
	}
	for _, s := range stored {
		if s.First <= last {
			continue
		}
		if s.First != last+1 {
			return takes
		}
		last = s.Last
	}
	return append(takes, begin)
}
