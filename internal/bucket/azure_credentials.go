package bucket

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// azureAuthorization finds what proves who asks, by the environment variables of
// Azure's own tools: an account's key, a shared access signature, which is part of each URL,
// or an identity.
func azureAuthorization(ctx context.Context, account string, insecure bool, client *http.Client) (authorize func(*http.Request) error, query url.Values, err error) {
	key, signature := os.Getenv("AZURE_STORAGE_KEY"), os.Getenv("AZURE_STORAGE_SAS_TOKEN")
	switch {
	case key != "":
		secret, err := base64.StdEncoding.DecodeString(key)
		if err != nil {
			return nil, nil, errors.New("AZURE_STORAGE_KEY is not base64")
		}
		return func(request *http.Request) error {
			azureSign(request, account, secret)
			return nil
		}, nil, nil
	case insecure:
		return nil, nil, errors.New("without TLS, only AZURE_STORAGE_KEY proves who asks without giving itself away")
	case signature != "":
		query, err := url.ParseQuery(strings.TrimPrefix(signature, "?"))
		if err != nil {
			return nil, nil, errors.New("AZURE_STORAGE_SAS_TOKEN cannot be read")
		}
		return func(*http.Request) error { return nil }, query, nil
	default:
		tokens := azureTokens(context.WithValue(ctx, oauth2.HTTPClient, client), client)
		return bearer(func() (oauth2.TokenSource, error) { return tokens, nil }), nil, nil
	}
}

// azureSign signs a request with an account's key: the scheme SharedKey.
func azureSign(request *http.Request, account string, key []byte) {
	var text strings.Builder
	text.WriteString(request.Method + "\n")
	for _, name := range []string{
		"Content-Encoding", "Content-Language", "Content-Length", "Content-Md5", "Content-Type", "Date",
		"If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
	} {
		value := request.Header.Get(name)
		if name == "Content-Length" && request.ContentLength > 0 {
			value = strconv.FormatInt(request.ContentLength, 10)
		}
		text.WriteString(value + "\n")
	}
	for _, name := range slices.Sorted(maps.Keys(request.Header)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			text.WriteString(lower + ":" + request.Header.Get(name) + "\n")
		}
	}
	text.WriteString("/" + account + request.URL.EscapedPath())
	query := request.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		text.WriteString("\n" + strings.ToLower(name) + ":" + strings.Join(query[name], ","))
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text.String()))
	request.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

const (
	azureScope    = "https://storage.azure.com/.default"
	azureResource = "https://storage.azure.com/"
	azureLogin    = "https://login.microsoftonline.com/"
	// azureMetadata is the same address in each virtual machine.
	azureMetadata = "http://169.254.169.254/metadata/identity/oauth2/token"
)

// azureTokens are an identity's: of a client with a secret, of a workload with a token
// in a file, or otherwise of the virtual machine. Each is kept until shortly before its end.
func azureTokens(ctx context.Context, client *http.Client) oauth2.TokenSource {
	tenant, id := os.Getenv("AZURE_TENANT_ID"), os.Getenv("AZURE_CLIENT_ID")
	secret, file := os.Getenv("AZURE_CLIENT_SECRET"), os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
	login := strings.TrimSuffix(cmp.Or(os.Getenv("AZURE_AUTHORITY_HOST"), azureLogin), "/")
	config := clientcredentials.Config{
		ClientID: id, ClientSecret: secret, TokenURL: login + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token",
		Scopes: []string{azureScope}, AuthStyle: oauth2.AuthStyleInParams,
	}
	switch {
	case tenant != "" && id != "" && secret != "":
		return config.TokenSource(ctx)
	case tenant != "" && id != "" && file != "":
		return oauth2.ReuseTokenSource(nil, &azureWorkload{ctx, config, file})
	default:
		return oauth2.ReuseTokenSource(nil, &azureMachine{ctx, client, azureMetadata, id})
	}
}

// azureWorkload trades the token in a file, which is renewed there, for one of Azure's.
type azureWorkload struct {
	ctx    context.Context
	config clientcredentials.Config
	file   string
}

func (w *azureWorkload) Token() (*oauth2.Token, error) {
	assertion, err := os.ReadFile(w.file)
	if err != nil {
		return nil, err
	}
	config := w.config
	config.EndpointParams = url.Values{
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {strings.TrimSpace(string(assertion))},
	}
	return config.Token(w.ctx)
}

// azureMachine asks the virtual machine for a token of its identity.
type azureMachine struct {
	ctx         context.Context
	client      *http.Client
	address, id string
}

func (m *azureMachine) Token() (*oauth2.Token, error) {
	query := url.Values{"api-version": {"2018-02-01"}, "resource": {azureResource}}
	if m.id != "" {
		query.Set("client_id", m.id)
	}
	request, err := http.NewRequestWithContext(m.ctx, http.MethodGet, m.address+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Metadata", "true")
	response, err := m.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no credentials in the environment, and no identity of a virtual machine: %w", withoutURL(err))
	}
	var answer struct {
		AccessToken string      `json:"access_token"`
		ExpiresIn   json.Number `json:"expires_in"`
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	seconds, _ := answer.ExpiresIn.Int64() // without one it is used once
	if err != nil || response.StatusCode != http.StatusOK || answer.AccessToken == "" {
		return nil, fmt.Errorf("the virtual machine gives no token of its identity, status %d", response.StatusCode)
	}
	return &oauth2.Token{AccessToken: answer.AccessToken, Expiry: time.Now().Add(time.Duration(seconds) * time.Second)}, nil
}
