//go:build node

package bucket

import (
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

// azurite is Microsoft's own stand-in for Azure.
func TestAzure(t *testing.T) {
	address := startAzurite(t)
	conform(t, provider{url: func(prefix string) string {
		return "azblob://test/" + prefix + "?insecure=true&account=" + azureAccount + "&endpoint=" + address
	}})
}

const azureAccount = "conformance"

// startAzurite returns the address of a stand-in with a container named test, and sets
// the credentials for it.
func startAzurite(t *testing.T) string {
	t.Helper()
	key := base64.StdEncoding.EncodeToString([]byte("not a secret"))
	t.Setenv("AZURE_STORAGE_KEY", key)
	t.Setenv("AZURITE_ACCOUNTS", azureAccount+":"+key)
	address := startProvider(t, "azurite", func(address string) []string {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return []string{"--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--silent", "--disableTelemetry"}
	})
	opened, err := openAzure(t.Context(), Location{Bucket: "test", Account: azureAccount, Endpoint: address, Insecure: true}, Options{}.withDefaults())
	require.NoError(t, err)
	a := opened.(*azure)
	_, err = a.done(t.Context(), http.MethodPut, a.url("", url.Values{"restype": {"container"}}), azureHeader(), nil, 0)
	require.NoError(t, err)
	return address
}
