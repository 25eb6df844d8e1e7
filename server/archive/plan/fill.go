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
// it has come to, and the newest that the bucket has without a hole after it. What it
// leaves out can be read from the bucket. It begins at nothing that comes after a hole:
// others may have what the bucket lacks. have is the newest segment of the server, nil for
// none; stored is sorted.
func Fill(have *Segment, stored []Stored) []Take {
	if len(stored) == 0 {
		return nil
	}
	if have == nil {
		return []Take{begin(withoutHole(stored))}
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
	after := slices.IndexFunc(stored, func(s Stored) bool { return s.First > last })
	if after < 0 || stored[after].First != last+1 {
		return takes
	}
	return append(takes, begin(withoutHole(stored[after:])))
}

// withoutHole returns the last of the segments that follow each other.
func withoutHole(stored []Stored) Stored {
	i := 0
	for i+1 < len(stored) && stored[i].Last >= stored[i].First && stored[i+1].First == stored[i].Last+1 {
		i++
	}
	return stored[i]
}

func begin(s Stored) Take {
	return Take{Segment: s.Name, First: s.First, Start: true, Size: s.Size}
}
