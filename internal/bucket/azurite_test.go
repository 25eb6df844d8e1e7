//go:build node

package bucket_test

import (
	"encoding/base64"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/promgrpc/exporter/internal/bucket"
	"github.com/promgrpc/exporter/internal/buckettest"
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
	address := buckettest.Start(t, "azurite", func(address string) []string {
		host, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		return []string{"--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--silent", "--disableTelemetry"}
	})
	require.NoError(t, bucket.CreateContainer(t.Context(), bucket.Location{Bucket: buckettest.Bucket, Account: azureAccount, Endpoint: address, Insecure: true}))
	return address
}
