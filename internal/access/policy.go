package access

import (
	"fmt"
	"reflect"
)

// Policy is what a caller may do. A nil one allows everything. It is the same pointer for
// as long as it says the same, however often the file is read.
type Policy struct {
	Name  string
	Read  *Read  // nil: may not read
	Write *Write // nil: may not write
	// Prepared is what the program has for the policy, as of [OpenFor].
	Prepared any
}

// Read is what a caller may read.
type Read struct {
	// Selectors of the series, of which any has to match. None: all series.
	Selectors []string
	// Logs may be read as they are in the files, with all their series.
	Logs bool
	// Status of the server, its logs and files.
	Status bool
	// Streams that may be open, 0 for no limit but the server's.
	Streams int64
	// Memory in bytes that calls and streams may take, 0 for no limit but the server's.
	Memory int64
}

// Write is how a caller may write.
type Write struct {
	// Tenant whose series these are, "" for none.
	Tenant string
}

// Right is something that a policy may allow.
type Right string

// The rights, by where they are in a policy.
const (
	ToRead       Right = "read"
	ToReadLogs   Right = "read.logs"
	ToReadStatus Right = "read.status"
	ToWrite      Right = "write"
)

// Check returns a *[Denied] unless the policy has a right.
func (p *Policy) Check(r Right) error {
	if p == nil {
		return nil
	}
	has := false
	switch r {
	case ToRead:
		has = p.Read != nil
	case ToReadLogs:
		has = p.Read != nil && p.Read.Logs
	case ToReadStatus:
		has = p.Read != nil && p.Read.Status
	case ToWrite:
		has = p.Write != nil
	}
	if has {
		return nil
	}
	return &Denied{false, noRight, fmt.Sprintf("policy %s does not have %s, which this needs; it is given in %s", p.Name, r, Flag)}
}

// Restricted says whether the caller may read some series only.
func (p *Policy) Restricted() bool { return p != nil && p.Read != nil && len(p.Read.Selectors) > 0 }

// says says whether both allow the same.
func (p *Policy) says(other *Policy) bool {
	return p.Name == other.Name && reflect.DeepEqual(p.Read, other.Read) && reflect.DeepEqual(p.Write, other.Write)
}
