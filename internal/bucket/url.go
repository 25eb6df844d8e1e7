package bucket

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Location is where objects are.
type Location struct {
	// Scheme is s3, gs, azblob or file.
	Scheme string
	// Bucket is the bucket's name, Azure's container, or the path of a folder.
	Bucket string
	// Prefix is what all names begin with, without a slash at its ends. A folder has
	// none.
	Prefix string
	// Endpoint is where the service is, as HOST or HOST:PORT; empty for the provider's own.
	Endpoint string
	// Region of an S3 bucket, empty if the environment says it or it has to be asked for.
	Region string
	// Account of Azure, empty if the environment says it.
	Account string
	// Insecure is HTTP instead of HTTPS.
	Insecure bool
}

// parameters that a URL may have, by scheme.
var parameters = map[string][]string{
	"s3":     {"endpoint", "region", "insecure"},
	"gs":     {"endpoint", "insecure"},
	"azblob": {"account", "endpoint", "insecure"},
	"file":   nil,
}

// Parse reads a bucket's URL: s3://BUCKET/PREFIX, gs://BUCKET/PREFIX,
// azblob://CONTAINER/PREFIX, file:///PATH, or the path of a folder. A URL with a
// secret in it is refused, since URLs are seen by others: in flags, and in logs.
func Parse(text string) (Location, error) {
	if text == "" {
		return Location{}, errors.New("a bucket needs a URL")
	}
	if !strings.Contains(text, "://") {
		scheme, _, _ := strings.Cut(text, ":")
		if _, known := parameters[scheme]; known && len(scheme) < len(text) {
			return Location{}, fmt.Errorf("a bucket's URL begins with %s://", scheme)
		}
		return Location{Scheme: "file", Bucket: filepath.Clean(text)}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Location{}, errors.New("this is no URL of a bucket") // err has the text, which may have a secret
	}
	allowed, known := parameters[u.Scheme]
	switch {
	case !known:
		return Location{}, fmt.Errorf("the scheme of a bucket is s3, gs, azblob or file, not %q", u.Scheme)
	case u.User != nil:
		return Location{}, errors.New("a bucket's URL has no user or password: credentials come from the environment")
	case u.Fragment != "":
		return Location{}, errors.New("a bucket's URL has no fragment")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Location{}, errors.New("the parameters of a bucket's URL cannot be read")
	}
	for name, values := range query {
		if !slices.Contains(allowed, name) {
			return Location{}, fmt.Errorf("a %s URL has no parameter %q: it may have %s", u.Scheme, name, orNone(allowed))
		}
		if len(values) != 1 || values[0] == "" {
			return Location{}, fmt.Errorf("the parameter %s of a bucket's URL has one value", name)
		}
	}
	return locate(u, query)
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// locate checks what a URL says, whose form is right.
func locate(u *url.URL, query url.Values) (Location, error) {
	l := Location{
		Scheme: u.Scheme, Bucket: u.Host,
		Endpoint: query.Get("endpoint"), Region: query.Get("region"), Account: query.Get("account"),
	}
	if u.Scheme == "file" {
		if u.Host != "" || !filepath.IsAbs(u.Path) {
			return l, errors.New("a folder's URL is file:///PATH, with three slashes")
		}
		l.Bucket = filepath.Clean(u.Path)
		return l, nil
	}
	if l.Bucket == "" {
		return l, fmt.Errorf("a URL of a bucket is %s://BUCKET/PREFIX, with the bucket's name", u.Scheme)
	}
	l.Prefix = strings.Trim(u.Path, "/")
	if l.Prefix != "" {
		if err := CheckName(l.Prefix); err != nil {
			return l, err
		}
	}
	switch query.Get("insecure") {
	case "", "false":
	case "true":
		l.Insecure = true
	default:
		return l, errors.New("the parameter insecure of a bucket's URL is true or false")
	}
	if strings.ContainsAny(l.Endpoint, "/@?#") {
		return l, errors.New("the parameter endpoint of a bucket's URL is HOST or HOST:PORT")
	}
	return l, nil
}

// String is the URL again.
func (l Location) String() string {
	if l.Scheme == "file" {
		return (&url.URL{Scheme: "file", Path: l.Bucket}).String()
	}
	query := url.Values{}
	for name, value := range map[string]string{"endpoint": l.Endpoint, "region": l.Region, "account": l.Account} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if l.Insecure {
		query.Set("insecure", "true")
	}
	u := url.URL{Scheme: l.Scheme, Host: l.Bucket, RawQuery: query.Encode()}
	if l.Prefix != "" {
		u.Path = "/" + l.Prefix
	}
	return u.String()
}

// key is an object's name in the bucket, with the prefix.
func (l Location) key(name string) string {
	if l.Prefix == "" {
		return name
	}
	return l.Prefix + "/" + name
}

// name is the other way.
func (l Location) name(key string) string {
	if l.Prefix == "" {
		return key
	}
	return strings.TrimPrefix(key, l.Prefix+"/")
}

// longestName fits into what every provider takes, with a prefix.
const longestName = 500

// CheckName says what is wrong with an object's name: what one of the providers would
// not take, or would take for another name.
func CheckName(name string) error {
	if name == "" || len(name) > longestName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) || strings.ContainsAny(name, `\?#`) {
		return fmt.Errorf("%.100q is no name of an object", name)
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element[0] == '.' {
			return fmt.Errorf("%.100q is no name of an object: it has an empty element, or one that begins with a dot", name)
		}
	}
	return nil
}
