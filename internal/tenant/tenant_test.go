package tenant

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	for tenant, want := range map[string]string{
		"a":                                "",
		"team-a_1.Prod":                    "",
		"!-_.*'()":                         "",
		"...":                              "",
		strings.Repeat("x", MaxBytes):      "",
		strings.Repeat("x", MaxBytes+1):    "at most",
		"":                                 "empty",
		".":                                "cannot be",
		"..":                               "cannot be",
		"a|b":                              "several tenants",
		"a|":                               "several tenants",
		"a, b":                             "character ','",
		"a b":                              "character ' '",
		"a/b":                              "character '/'",
		"a\"b":                             "character '\"'",
		"ä":                                "character 'ä'",
		"a\xff":                            "character",
		"a\x00":                            "character",
		strings.Repeat("|", MaxBytes*1000): "at most",
	} {
		err := Check(tenant)
		if want == "" {
			require.NoError(t, err, "%q", tenant)
			continue
		}
		require.ErrorContains(t, err, want, "%q", tenant)
		require.Less(t, len(err.Error()), 1000)
	}
}

func TestCheckLabel(t *testing.T) {
	for name, want := range map[string]string{
		"tenant":                             "",
		"_Tenant1":                           "",
		strings.Repeat("x", MaxLabelBytes):   "",
		strings.Repeat("x", MaxLabelBytes+1): "at most",
		"":                                   "no label name",
		"1a":                                 "no label name",
		"a-b":                                "no label name",
		"ä":                                  "no label name",
		"__name__":                           "reserved",
		"__tenant__":                         "reserved",
		"le":                                 "apart",
		"quantile":                           "apart",
	} {
		err := CheckLabel(name)
		if want == "" {
			require.NoError(t, err, "%q", name)
			continue
		}
		require.ErrorContains(t, err, want, "%q", name)
	}
}
