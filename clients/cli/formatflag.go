package cli

import (
	"os"
	"slices"

	"github.com/promgrpc/exporter/clients/cli/output"
)

// registerFormat adds --output to a command that has these formats. All commands
// share the environment variable: a format that only others have leaves this one
// with its default.
func registerFormat(cmd clause, help string, target *string, formats ...string) {
	flag := option(cmd, "output", help).Short('o').Default("text")
	if wanted := os.Getenv(variable("output")); (slices.Contains(output.Formats, wanted) || wanted == output.FormatChart) && !slices.Contains(formats, wanted) {
		flag.NoEnvar()
	}
	flag.EnumVar(target, formats...)
}

// registerCSV adds the flag for csv to a command that has the format.
func registerCSV(cmd clause, header *bool) {
	option(cmd, "csv-header", "With --output csv: start with the names of the columns. --no-csv-header is for output that is appended to a file.").
		Default("true").BoolVar(header)
}
