package promql

import (
	"os"
	"testing"

	"github.com/promgrpc/exporter/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
