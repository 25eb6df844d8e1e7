package remotewrite

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/protoscan"
)

// bytesField is a field of bytes, of a number below 16.
func bytesField(number byte, content []byte) []byte {
	return append(binary.AppendUvarint([]byte{number<<3 | protoscan.TypeBytes}, uint64(len(content))), content...)
}

// TestWrongPartsCount checks that parts which are wrong count towards the limits of a
// request like those that are right: they take as much work.
func TestWrongPartsCount(t *testing.T) {
	limits := limitsWith(func(l *Limits) {
		l.Series, l.Samples, l.ValueBytes = 50, 100, 10
	})
	sample, label := bytesField(2, nil), bytesField(1, append(bytesField(1, []byte("a")), bytesField(2, []byte("b"))...))
	long := bytesField(3, bytesField(2, bytes.Repeat([]byte("n"), limits.ValueBytes+1)))
	for name, test := range map[string]struct {
		schema Schema
		part   []byte // a field of the request
		most   int    // of them
		flag   string
	}{
		"references that point nowhere": {V2, bytesField(5, append(bytesField(1, []byte{9, 9}), sample...)), limits.Series, flagSeries},
		"series without samples":        {V2, bytesField(5, bytesField(1, []byte{0, 0})), limits.Series, flagSeries},
		"histograms":                    {V1, bytesField(1, append(bytes.Clone(label), bytesField(4, bytesField(11, []byte{2 << 3, 5}))...)), limits.Samples, flagSamples},
		"exemplars":                     {V1, bytesField(1, append(bytes.Clone(label), bytesField(3, bytesField(1, nil))...)), limits.Samples, flagSamples},
		"metadata":                      {V1, long, limits.Series, flagSeries},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewRequest(limits)
			if err := r.scan(test.schema, bytes.Repeat(test.part, test.most)); err != nil || r.Problems.Count != test.most {
				t.Errorf("%d: %v, %d problems", test.most, err, r.Problems.Count)
			}
			r.reset()
			err := r.scan(test.schema, bytes.Repeat(test.part, test.most+1))
			over := (*limit.Error)(nil)
			if !errors.Is(err, ErrTooLarge) || !errors.As(err, &over) || "--limit."+over.Name != test.flag {
				t.Errorf("%d: %v", test.most+1, err)
			}
		})
	}
}

// spoken counts how often it is put into words.
type spoken int

func (s *spoken) String() string { *s++; return "said" }

// TestReasonsAreWordedWhenKept checks that the texts of very many wrong parts, of
// which nobody keeps any but the first, are not made.
func TestReasonsAreWordedWhenKept(t *testing.T) {
	var plain, over spoken
	r := NewRequest(DefaultLimits())
	for range 1000 {
		r.Refuse(1, &Series{}, reasonf("%v", &plain))
		r.Refuse(1, &Series{}, limit.Over(flagSeries, "%v", &over))
	}
	if plain+over != maxReasons || r.Problems.Count != 2000 || r.Problems.OverLimit["series"] != 1000 {
		t.Errorf("%d and %d texts, %+v", plain, over, r.Problems)
	}
}

// TestLateReasonsAreFew asks for the reasons of very many late samples no longer than
// they are kept.
func TestLateReasonsAreFew(t *testing.T) {
	const late = 1000
	series := append(bytesField(1, []byte{0, 0}), bytes.Repeat(bytesField(2, []byte{2 << 3, 9}), late)...)
	r := NewRequest(DefaultLimits())
	if err := r.scan(V2, append(bytesField(4, nil), bytesField(5, series)...)); err != nil {
		t.Fatal(err)
	}
	asked := 0
	r.DropAfter(8, func(int64) error { asked++; return errors.New("late") })
	if asked != maxReasons || r.Problems.Count != late || len(r.Series) != 0 {
		t.Errorf("asked %d times, %d problems, %d series are left", asked, r.Problems.Count, len(r.Series))
	}
}
