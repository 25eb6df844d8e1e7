package bucket

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tokenServer gives tokens, and remembers what it was asked for.
func tokenServer(t *testing.T) (address string, asked *[]url.Values) {
	t.Helper()
	asked = &[]url.Values{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseForm())
		*asked = append(*asked, r.Form)
		w.Header().Set("Content-Type", "application/json")
		expires := "3599"
		if r.Method == http.MethodGet { // the virtual machine's form
			expires = `"3599"`
		}
		fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":%s}`, len(*asked), expires)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// service is a provider's endpoint with TLS that is asked for one object, and answers
// with what the request was authorized by.
func service(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), r.URL.Query().Get("sig"))
	}))
	t.Cleanup(server.Close)
	return server
}

// trust has a store's requests trust a test's server.
func (r *rest) trust(server *httptest.Server) {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	r.transport.RoundTripper.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

func authorizedBy(t *testing.T, s store) string {
	t.Helper()
	r, err := s.open(t.Context(), "a", 0, -1)
	require.NoError(t, err)
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return string(text)
}

func azureAt(t *testing.T, server *httptest.Server) store {
	t.Helper()
	location := Location{Bucket: "c", Account: "acc", Endpoint: strings.TrimPrefix(server.URL, "https://")}
	s, err := openAzure(t.Context(), location, Options{}.withDefaults())
	require.NoError(t, err)
	s.(*azure).trust(server)
	return s
}

func clearAzure(t *testing.T) {
	for _, name := range []string{
		"STORAGE_KEY", "STORAGE_SAS_TOKEN", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET", "FEDERATED_TOKEN_FILE", "AUTHORITY_HOST",
	} {
		t.Setenv("AZURE_"+name, "")
	}
}

func TestAzureSignature(t *testing.T) {
	clearAzure(t)
	t.Setenv("AZURE_STORAGE_SAS_TOKEN", "?sv=2021&sig=a%2Bb%3D")
	assert.Equal(t, " a+b=", authorizedBy(t, azureAt(t, service(t))))
	_, err := openAzure(t.Context(), Location{Bucket: "c", Account: "acc", Insecure: true}, Options{})
	assert.ErrorContains(t, err, "without TLS")
}

func TestAzureIdentity(t *testing.T) {
	clearAzure(t)
	address, asked := tokenServer(t)
	t.Setenv("AZURE_AUTHORITY_HOST", address)
	t.Setenv("AZURE_TENANT_ID", "tenant")
	t.Setenv("AZURE_CLIENT_ID", "client")
	t.Setenv("AZURE_CLIENT_SECRET", "secret")
	s := azureAt(t, service(t))
	for range 2 {
		assert.Equal(t, "Bearer token-1 ", authorizedBy(t, s), "the token is kept")
	}
	form := (*asked)[0]
	assert.Equal(t, []string{"client", "secret", "client_credentials", azureScope},
		[]string{form.Get("client_id"), form.Get("client_secret"), form.Get("grant_type"), form.Get("scope")})

	file := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(file, []byte("assertion\n"), 0o600))
	t.Setenv("AZURE_CLIENT_SECRET", "")
	t.Setenv("AZURE_FEDERATED_TOKEN_FILE", file)
	assert.Equal(t, "Bearer token-2 ", authorizedBy(t, azureAt(t, service(t))))
	form = (*asked)[1]
	assert.Equal(t, []string{"client", "assertion"}, []string{form.Get("client_id"), form.Get("client_assertion")})

	machine := azureMachine{t.Context(), http.DefaultClient, address, "client"}
	token, err := machine.Token()
	require.NoError(t, err)
	assert.Equal(t, "token-3", token.AccessToken)
	assert.WithinDuration(t, time.Now().Add(time.Hour), token.Expiry, 10*time.Minute)
	form = (*asked)[2]
	assert.Equal(t, []string{"client", azureResource}, []string{form.Get("client_id"), form.Get("resource")})
}

func TestGoogleServiceAccount(t *testing.T) {
	address, asked := tokenServer(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "test@example.org", "private_key_id": "1", "token_uri": address,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, account, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	server := service(t)
	s := openGCS(t.Context(), Location{Bucket: "b", Endpoint: strings.TrimPrefix(server.URL, "https://")}, Options{}.withDefaults())
	s.(*gcs).trust(server)
	for range 2 {
		assert.Equal(t, "Bearer token-1 ", authorizedBy(t, s), "the token is kept")
	}
	assert.Contains(t, (*asked)[0].Get("grant_type"), "jwt-bearer")
}

func TestGoogleCredentialsThatAreNotThere(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "missing.json"))
	b, err := Open(t.Context(), "gs://b", Options{Attempts: 1})
	require.NoError(t, err)
	_, err = b.Stat(t.Context(), "a")
	require.ErrorContains(t, err, "find credentials")
}
