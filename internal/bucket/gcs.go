package bucket

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// gcs is Google Cloud Storage, by its JSON API.
type gcs struct {
	*rest
	// objects and uploads are the URLs of the bucket's objects.
	objects, uploads string
}

const (
	gcsEndpoint = "storage.googleapis.com"
	gcsScope    = "https://www.googleapis.com/auth/devstorage.read_write"
	// gcsFields are those of an object that are asked for.
	gcsFields = "name,size,timeCreated"
)

func openGCS(ctx context.Context, location Location, options Options) store {
	r := newREST(options)
	r.meaning = gcsMeaning
	r.authorize = bearer(googleTokens(context.WithoutCancel(ctx), r.client))
	base := "https://" + gcsEndpoint
	if location.Endpoint != "" {
		base = "https://" + location.Endpoint
	}
	if location.Insecure {
		// A token is not for the network to see, and an emulator asks for none.
		r.authorize = func(*http.Request) error { return nil }
		base = strings.Replace(base, "https:", "http:", 1)
	}
	path := "/storage/v1/b/" + url.PathEscape(location.Bucket) + "/o"
	return &gcs{rest: r, objects: base + path, uploads: base + "/upload" + path}
}

// googleTokens finds Google's default credentials when they are needed first: which
// there are may have to be asked for over the network.
func googleTokens(ctx context.Context, client *http.Client) func() (oauth2.TokenSource, error) {
	var lock sync.Mutex
	var found oauth2.TokenSource
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	return func() (oauth2.TokenSource, error) {
		lock.Lock()
		defer lock.Unlock()
		if found == nil {
			credentials, err := google.FindDefaultCredentials(ctx, gcsScope)
			if err != nil {
				return nil, err
			}
			found = credentials.TokenSource
		}
		return found, nil
	}
}

// create sends an object with its checksum, by which the service refuses what does not
// arrive as it is.
func (g *gcs) create(ctx context.Context, key string, content io.ReaderAt, size int64) error {
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	if err := readInto(sum, content, size); err != nil {
		return err
	}
	metadata, err := json.Marshal(map[string]string{
		"name":   key,
		"crc32c": base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32())),
	})
	if err != nil {
		return &refusal{err}
	}
	// No content has this in it but by intent, and then the checksum is wrong.
	const boundary = "promgrpc-8f1d6a2b3c"
	head := "--" + boundary + "\r\nContent-Type: application/json\r\n\r\n" + string(metadata) +
		"\r\n--" + boundary + "\r\nContent-Type: application/octet-stream\r\n\r\n"
	tail := "\r\n--" + boundary + "--\r\n"
	body := io.MultiReader(strings.NewReader(head), io.NewSectionReader(content, 0, size), strings.NewReader(tail))
	header := http.Header{"Content-Type": {"multipart/related; boundary=" + boundary}}
	_, err = g.done(ctx, http.MethodPost, g.uploads+"?uploadType=multipart&ifGenerationMatch=0", header, body, int64(len(head))+size+int64(len(tail)))
	return err
}

func (g *gcs) object(key, query string) string {
	return g.objects + "/" + url.PathEscape(key) + query
}

func (g *gcs) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	return g.rest.open(ctx, g.object(key, "?alt=media"), http.Header{}, offset, length)
}

// gcsObject is an object as the service describes it.
type gcsObject struct {
	Name        string    `json:"name"`
	Size        string    `json:"size"`
	TimeCreated time.Time `json:"timeCreated"`
}

func (o gcsObject) object() (Object, error) {
	size, err := strconv.ParseInt(o.Size, 10, 64)
	if err != nil {
		return Object{}, fmt.Errorf("the size of %s: %w", o.Name, err)
	}
	return Object{Name: o.Name, Size: size, Modified: o.TimeCreated}, nil
}

// get reads an answer.
func (g *gcs) get(ctx context.Context, url string, answer any) error {
	response, err := g.do(ctx, http.MethodGet, url, http.Header{}, nil, 0)
	if err != nil {
		return err
	}
	err = json.NewDecoder(response.Body).Decode(answer)
	if closed := response.Body.Close(); err == nil {
		err = closed
	}
	return err
}

func (g *gcs) stat(ctx context.Context, key string) (Object, error) {
	var answer gcsObject
	if err := g.get(ctx, g.object(key, "?fields="+gcsFields), &answer); err != nil {
		return Object{}, err
	}
	return answer.object()
}

func (g *gcs) page(ctx context.Context, prefix, next string) (objects []Object, then string, err error) {
	query := url.Values{
		"prefix":     {prefix},
		"maxResults": {strconv.Itoa(pageSize)},
		"fields":     {"nextPageToken,items(" + gcsFields + ")"},
	}
	if next != "" {
		query.Set("pageToken", next)
	}
	var answer struct {
		Items         []gcsObject `json:"items"`
		NextPageToken string      `json:"nextPageToken"`
	}
	if err := g.get(ctx, g.objects+"?"+query.Encode(), &answer); err != nil {
		return nil, "", err
	}
	for _, item := range answer.Items {
		object, err := item.object()
		if err != nil {
			return nil, "", err
		}
		objects = append(objects, object)
	}
	return objects, answer.NextPageToken, nil
}

func (g *gcs) remove(ctx context.Context, key string) error {
	_, err := g.done(ctx, http.MethodDelete, g.object(key, ""), http.Header{}, nil, 0)
	return err
}

// gcsMeaning tells a missing object from a missing bucket by the words: the service has
// the same status for both.
func gcsMeaning(status int, _ http.Header, body string) error {
	message := body
	var described struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal([]byte(body), &described) == nil && described.Error.Message != "" {
		message = described.Error.Message
	}
	if status == http.StatusNotFound && !strings.Contains(message, "bucket does not exist") {
		return ErrNotFound
	}
	return answered(status, "", message)
}
