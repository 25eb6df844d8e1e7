package credential

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAuthorization(t *testing.T) {
	dir := t.TempDir()
	file := func(content string) string {
		f, err := os.CreateTemp(dir, "")
		require.NoError(t, err)
		_, err = f.WriteString(content)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return f.Name()
	}
	for name, tc := range map[string]struct {
		files Files
		user  string
		want  string
		err   string
	}{
		"nobody":                      {},
		"a token":                     {files: Files{Token: file(" abc\n")}, want: "Bearer abc"},
		"an empty token":              {files: Files{Token: file("\n")}, err: "want a token"},
		"no file":                     {files: Files{Token: filepath.Join(dir, "none")}, err: "no such file"},
		"a password":                  {files: Files{User: "ann", Password: file("pässword \n")}, user: "ann", want: "pässword"},
		"a password with a colon":     {files: Files{User: "ann", Password: file("a:b")}, user: "ann", want: "a:b"},
		"an empty password":           {files: Files{User: "ann", Password: file(" \n")}, err: "want a password"},
		"a password of several lines": {files: Files{User: "ann", Password: file("secret\nsecret")}, err: "want a password, in one line"},
		"a user with a colon":         {files: Files{User: "a:b", Password: file("secret")}, err: "no colon"},
		"no password":                 {files: Files{User: "ann", Password: filepath.Join(dir, "none")}, err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.files.Authorization()
			if tc.err != "" {
				require.ErrorContains(t, err, tc.err)
				require.NotContains(t, err.Error(), "secret")
				return
			}
			require.NoError(t, err)
			if tc.user == "" {
				require.Equal(t, tc.want, got)
				return
			}
			req := http.Request{Header: http.Header{Header: {got}}}
			user, password, ok := req.BasicAuth()
			require.True(t, ok)
			require.Equal(t, tc.user, user)
			require.Equal(t, tc.want, password)
		})
	}
}

func TestCleartext(t *testing.T) {
	for address, ours := range map[string]bool{
		"localhost:1": true, "LocalHost.:1": true, "127.0.0.1:1": true, "127.8.9.7:1": true, "[::1]:1": true, "[::ffff:127.0.0.1]:1": true,
		"localhost.example:1": false, "10.0.0.1:1": false, "[fe80::1%lo]:1": false, "server-1:1": false, "127.0.0.1.example:1": false,
		"0.0.0.0:1": false, "localhost": false, "": false,
	} {
		err := Cleartext(address, Header)
		if ours {
			require.NoError(t, err, address)
			continue
		}
		var refused *CleartextError
		require.ErrorAs(t, err, &refused, address)
		require.Equal(t, address, refused.Address)
	}
}

func TestIsSecret(t *testing.T) {
	for _, name := range []string{
		"authorization", "Proxy-Authorization", "Cookie", "X-Api-Key", "apikey", "X-Auth-Token", "X-Vault-Token", "private-token",
		"X-Amz-Security-Token", "X-Client-Secret", "X-Password", "X-Auth-Key",
	} {
		require.True(t, IsSecret(name), name)
	}
	for _, name := range []string{"X-Scope-OrgID", "X-Tenant", "Traceparent", "X-Token-Kind", "X-Monkey", "X-Key"} {
		require.False(t, IsSecret(name), name)
	}
}

func TestFlagsThatDoNotFit(t *testing.T) {
	for want, f := range map[string]Flags{
		"exclude each other":          {Files: Files{Token: "t", User: "u"}},
		"belong together":             {Files: Files{User: "u"}},
		"--basic-auth-password-file":  {Files: Files{Password: "p"}},
		"--bearer-token-file: open t": {Files: Files{Token: "t"}},
	} {
		require.ErrorContains(t, f.Check(), want)
	}
	var none Flags
	require.NoError(t, none.Check())
	config, err := none.Dialer(nil)
	require.NoError(t, err)
	require.Nil(t, config)
	config, err = (&Flags{TLS: true}).Dialer(nil)
	require.NoError(t, err)
	require.NotNil(t, config)
}
