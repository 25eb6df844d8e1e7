package history

import (
	"fmt"
	"iter"
	"sort"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/promgrpc/exporter/server/postings"
	"github.com/promgrpc/exporter/server/selection"
)

// lookup finds series of a part, for one evaluation. What it has read takes room there.
type lookup struct {
	*part
	e      *selection.Evaluation
	room   int64
	values map[uint32][]string // by block of labels
	lists  *fields             // a block of postings, at the list of label next
	next   uint32              // which may be the first of the block after it
	at     uint32              // which block of postings it is
	near   seriesBlock
	read   uint32 // which block that is, and one more; 0: none
	labels labels.ScratchBuilder
}

func newLookup(e *selection.Evaluation, p *part) *lookup {
	return &lookup{part: p, e: e, values: map[uint32][]string{}, labels: labels.NewScratchBuilder(16)}
}

// grow takes room for n more bytes.
func (l *lookup) grow(n int64) error {
	if err := l.e.Grow(n); err != nil {
		return err
	}
	l.room += n
	return nil
}

// end gives back the room.
func (l *lookup) end() { _ = l.e.Grow(-l.room) }

// Len implements [postings.Source].
func (l *lookup) Len() int { return int(l.count) }

// valueSize is what a value takes besides its bytes.
const valueSize = 16

// value returns the value of a label.
func (l *lookup) value(number uint32) (string, error) {
	i := number / perBlock
	block, ok := l.values[i]
	if !ok {
		if err := l.grow(l.blockSize(ofLabels, i) + perBlock*valueSize); err != nil {
			return "", err
		}
		var err error
		if block, err = l.readValues(i); err != nil {
			return "", err
		}
		l.values[i] = block
	}
	return block[number%perBlock], nil
}

// Values implements [postings.Source].
func (l *lookup) Values(name string) iter.Seq2[postings.Value, error] {
	return func(yield func(postings.Value, error) bool) {
		n := l.named(name)
		if n == nil {
			return
		}
		for number := n.from; number < n.to; number++ {
			text, err := l.value(number)
			if !yield(postings.Value{Text: text, Number: number}, err) || err != nil {
				return
			}
		}
	}
}

// Having implements [postings.Source].
func (l *lookup) Having(name string, values []string) ([]postings.Runs, error) {
	n := l.named(name)
	if n == nil {
		return nil, nil
	}
	var found []postings.Runs
	for _, text := range values {
		if err := l.e.Step(stepsOfValue); err != nil {
			return nil, err
		}
		var failed error
		number := n.from + uint32(sort.Search(int(n.to-n.from), func(i int) bool {
			have, err := l.value(n.from + uint32(i))
			if err != nil {
				failed = err
			}
			return have >= text
		}))
		if failed != nil {
			return nil, failed
		}
		if number == n.to {
			continue
		}
		if have, err := l.value(number); err != nil || have != text {
			if err != nil {
				return nil, err
			}
			continue
		}
		runs, err := l.runs(number)
		if err != nil {
			return nil, err
		}
		found = append(found, runs)
	}
	return found, nil
}

// stepsOfValue is about what it costs to find one.
const stepsOfValue = 1000

// OfNumbers implements [postings.Source].
func (l *lookup) OfNumbers(numbers []uint32, found []postings.Runs) error {
	for i, n := range numbers {
		var err error
		if found[i], err = l.runs(n); err != nil {
			return err
		}
	}
	return nil
}

// runSize is a run's, and about how many bytes it has in a file at least.
const runSize = 8

// runs returns the postings of a label. It is made to be asked for ascending numbers.
func (l *lookup) runs(number uint32) (postings.Runs, error) {
	block := number / perBlock
	if l.lists == nil || l.next > number || l.at != block {
		r, err := l.block(ofPostings, block)
		if err != nil {
			return postings.Runs{}, err
		}
		l.lists, l.at, l.next = r, block, block*perBlock
	}
	var b []byte
	for ; l.next <= number; l.next++ {
		b = l.lists.bytes()
	}
	if err := l.grow(int64(len(b)/2) * runSize); err != nil {
		return postings.Runs{}, err
	}
	runs, ok := readRuns(b, l.count)
	if !ok || l.lists.bad {
		return postings.Runs{}, fmt.Errorf("%w: postings of label %d", errDamaged, number)
	}
	return postings.RunsOf(runs), nil
}

// seriesAt returns a series. It is valid until the next call, and made to be asked for
// ascending ids.
func (l *lookup) seriesAt(id uint32) (*series, error) {
	if i := id / perBlock; l.read != i+1 {
		l.read = 0
		if err := l.readSeries(i, &l.near); err != nil {
			return nil, err
		}
		l.read = i + 1
	}
	return &l.near.entries[id%perBlock], nil
}

// labelsOf returns the labels of a series.
func (l *lookup) labelsOf(row []uint32) (labels.Labels, error) {
	l.labels.Reset()
	for _, number := range row {
		text, err := l.value(number)
		if err != nil {
			return labels.EmptyLabels(), err
		}
		l.labels.Add(l.nameOf(number).text, text)
	}
	return l.labels.Labels(), nil
}
