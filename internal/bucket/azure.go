package bucket

import (
	"context"
	"crypto/md5" //nolint:gosec // Azure checks what arrived by it
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// azure is Azure Blob Storage, by its REST API.
type azure struct {
	*rest
	// container is its URL, and query a shared access signature, if there is one.
	container string
	query     url.Values
}

const (
	azureDomain = ".blob.core.windows.net"
	// azureVersion of the API takes block blobs of 5000 MiB in one request.
	azureVersion = "2021-12-02"
)

func openAzure(ctx context.Context, location Location, options Options) (store, error) {
	account := location.Account
	if account == "" {
		account = os.Getenv("AZURE_STORAGE_ACCOUNT")
	}
	if account == "" {
		return nil, errors.New("the storage account is named by account= in the URL, or by AZURE_STORAGE_ACCOUNT")
	}
	a := &azure{rest: newREST(options), container: azureContainer(account, location)}
	a.meaning = azureMeaning
	var err error
	a.authorize, a.query, err = azureAuthorization(context.WithoutCancel(ctx), account, location.Insecure, a.client)
	return a, err
}

// azureContainer is a container's URL. An endpoint that does not have the account in
// its name has it in the path, as the emulator does.
func azureContainer(account string, location Location) string {
	u := url.URL{Scheme: "https", Host: account + azureDomain, Path: "/"}
	if location.Insecure {
		u.Scheme = "http"
	}
	if location.Endpoint != "" {
		u.Host = location.Endpoint
		if !strings.HasPrefix(u.Host, account+".") {
			u.Path += account + "/"
		}
	}
	u.Path += location.Bucket
	return u.String()
}

// url of the container, or of an object in it.
func (a *azure) url(key string, parameters url.Values) string {
	address := a.container
	if key != "" {
		address += "/" + escapePath(key)
	}
	query := url.Values{}
	for _, values := range []url.Values{a.query, parameters} {
		for name, value := range values {
			query[name] = value
		}
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	return address
}

// escapePath escapes all but the slashes.
func escapePath(path string) string {
	elements := strings.Split(path, "/")
	for i, element := range elements {
		elements[i] = url.PathEscape(element)
	}
	return strings.Join(elements, "/")
}

func azureHeader() http.Header {
	return http.Header{
		"X-Ms-Version": {azureVersion},
		"X-Ms-Date":    {time.Now().UTC().Format(http.TimeFormat)},
	}
}

func (a *azure) create(ctx context.Context, key string, content io.ReaderAt, size int64) error {
	sum := md5.New() //nolint:gosec // see above
	if err := readInto(sum, content, size); err != nil {
		return err
	}
	header := azureHeader()
	header.Set("X-Ms-Blob-Type", "BlockBlob")
	header.Set("If-None-Match", "*")
	header.Set("Content-Md5", base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	header.Set("Content-Type", "application/octet-stream")
	_, err := a.done(ctx, http.MethodPut, a.url(key, nil), header, io.NewSectionReader(content, 0, size), size)
	return err
}

func (a *azure) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return a.rest.open(ctx, a.url(key, nil), azureHeader(), offset, length)
}

func (a *azure) stat(ctx context.Context, key string) (Object, error) {
	header, err := a.done(ctx, http.MethodHead, a.url(key, nil), azureHeader(), nil, 0)
	if err != nil {
		return Object{}, err
	}
	return azureBlob{Name: key, Size: header.Get("Content-Length"), Modified: header.Get("Last-Modified")}.object()
}

// azureBlob is a blob as the service describes it.
type azureBlob struct {
	Name     string `xml:"Name"`
	Size     string `xml:"Properties>Content-Length"`
	Modified string `xml:"Properties>Last-Modified"`
}

func (b azureBlob) object() (Object, error) {
	size, err := strconv.ParseInt(b.Size, 10, 64)
	if err != nil {
		return Object{}, err
	}
	modified, err := http.ParseTime(b.Modified)
	return Object{Name: b.Name, Size: size, Modified: modified}, err
}

func (a *azure) page(ctx context.Context, prefix, next string) (objects []Object, then string, err error) {
	query := url.Values{
		"restype": {"container"}, "comp": {"list"}, "prefix": {prefix}, "maxresults": {strconv.Itoa(pageSize)},
	}
	if next != "" {
		query.Set("marker", next)
	}
	response, err := a.do(ctx, http.MethodGet, a.url("", query), azureHeader(), nil, 0)
	if err != nil {
		return nil, "", err
	}
	var answer struct {
		Blobs      []azureBlob `xml:"Blobs>Blob"`
		NextMarker string      `xml:"NextMarker"`
	}
	err = xml.NewDecoder(response.Body).Decode(&answer)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return nil, "", err
	}
	for _, blob := range answer.Blobs {
		object, err := blob.object()
		if err != nil {
			return nil, "", err
		}
		objects = append(objects, object)
	}
	return objects, answer.NextMarker, nil
}

func (a *azure) remove(ctx context.Context, key string) error {
	_, err := a.done(ctx, http.MethodDelete, a.url(key, nil), azureHeader(), nil, 0)
	return err
}

// azureMeaning goes by the code, which is a header since an answer to HEAD has no body.
func azureMeaning(status int, header http.Header, body string) error {
	code := header.Get("X-Ms-Error-Code")
	switch code {
	case "BlobAlreadyExists":
		return ErrExists
	case "BlobNotFound":
		return ErrNotFound
	}
	var described struct{ Message string }
	if xml.Unmarshal([]byte(strings.TrimPrefix(body, "\ufeff")), &described) == nil {
		body, _, _ = strings.Cut(described.Message, "\n") // numbers of the request follow
	}
	if body == "" {
		body = http.StatusText(status)
	}
	return answered(status, code, body)
}
