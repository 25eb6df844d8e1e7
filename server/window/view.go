package window

import (
	"math"
	"slices"
)

// View is a window as of one block. It is read without locks, also by several readers.
type View struct {
	window *Window
	list   []*page
	first  uint64
	floor  int64
}

// View returns the window as it is. It is made in microseconds. The caller releases it.
func (w *Window) View() *View {
	if w == nil {
		return &View{floor: math.MaxInt64}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.epoch++
	return &View{window: w, list: slices.Clone(w.list), first: w.first, floor: w.floor()}
}

// Release ends the view. It must not be read any more. It may be called twice.
func (v *View) Release() { *v = View{floor: math.MaxInt64} }

// Floor is the timestamp from which on the view has all samples, in ms.
func (v *View) Floor() int64 { return v.floor }

// Exemplars returns the latest exemplars of a series, in wire form and in order of
// arrival. They are those of now.
func (v *View) Exemplars(ref uint64) [][]byte {
	if v.window == nil {
		return nil
	}
	v.window.mu.Lock()
	defer v.window.mu.Unlock()
	return v.window.exemplars.of(ref)
}
