package invariant_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/promgrpc/exporter/internal/invariant"
)

func TestCheck(t *testing.T) {
	assert.NotPanics(t, func() { invariant.Check(true, "block %d after block %d", 8, 7) })
	assert.PanicsWithValue(t, "invariant: block 9 after block 7", func() { invariant.Check(false, "block %d after block %d", 9, 7) })
}
