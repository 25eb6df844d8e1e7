package segment

import "slices"

// refIndex finds the ordinal of a reference, for the encoder. References ascend with
// their ordinals, so a page of 1024 references has consecutive ordinals, and it is
// enough to know the first and the last of them. Within, a reference without holes
// before it is where it should be; any other is searched for.
//
//	page 3   refs      3075 3076 3077      3090
//	         ordinals   500  501  502       503      first 500, end 504
type refIndex struct {
	pages map[uint64]*refPage
	// cache of pages by the low bits of their number: blocks come back to the
	// same few pages again and again.
	cache [256]struct {
		number uint64
		page   *refPage
	}
}

const refPageBits = 10

// refPage has the ordinals from first up to, not including, end.
type refPage struct{ first, end uint32 }

func (x *refIndex) reset() { *x = refIndex{pages: map[uint64]*refPage{}} }

func (x *refIndex) page(number uint64) *refPage {
	c := &x.cache[number%uint64(len(x.cache))]
	if c.page != nil && c.number == number {
		return c.page
	}
	p := x.pages[number]
	if p != nil {
		c.number, c.page = number, p
	}
	return p
}

// set adds a reference, whose ordinal is one above that of the reference before.
func (x *refIndex) set(ref uint64, ordinal int) {
	number := ref >> refPageBits
	p := x.page(number)
	if p == nil {
		p = new(refPage)
		x.pages[number] = p
	}
	if p.first == p.end {
		p.first = uint32(ordinal)
	}
	p.end = uint32(ordinal) + 1
}

// remove undoes a set. Only the latest can be removed, in any order among themselves.
func (x *refIndex) remove(ref uint64) {
	if p := x.page(ref >> refPageBits); p != nil {
		p.end--
	}
}

// get looks a reference up in refs, which are those of all ordinals.
func (x *refIndex) get(refs []uint64, ref uint64) (int, bool) {
	p := x.page(ref >> refPageBits)
	if p == nil || p.first == p.end {
		return 0, false
	}
	page := refs[p.first:p.end]
	if ref < page[0] {
		return 0, false
	}
	// Here it is if there are no holes before it, and no later otherwise.
	at := min(ref-page[0], uint64(len(page)-1))
	if page[at] != ref {
		i, ok := slices.BinarySearch(page[:at+1], ref)
		return int(p.first) + i, ok
	}
	return int(p.first) + int(at), true
}
