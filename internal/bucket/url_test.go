package bucket

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]Location{
		"s3://b":                         {Scheme: "s3", Bucket: "b"},
		"s3://b/":                        {Scheme: "s3", Bucket: "b"},
		"s3://b/some/prefix/":            {Scheme: "s3", Bucket: "b", Prefix: "some/prefix"},
		"s3://b/p?region=r&endpoint=h:1": {Scheme: "s3", Bucket: "b", Prefix: "p", Region: "r", Endpoint: "h:1"},
		"s3://b/p?insecure=true":         {Scheme: "s3", Bucket: "b", Prefix: "p", Insecure: true},
		"s3://b/p?insecure=false":        {Scheme: "s3", Bucket: "b", Prefix: "p"},
		"gs://b/p":                       {Scheme: "gs", Bucket: "b", Prefix: "p"},
		"azblob://c/p?account=a":         {Scheme: "azblob", Bucket: "c", Prefix: "p", Account: "a"},
		"file:///a/folder":               {Scheme: "file", Bucket: "/a/folder"},
		"file:///":                       {Scheme: "file", Bucket: "/"},
		"/a/folder/":                     {Scheme: "file", Bucket: "/a/folder"},
		"a/folder":                       {Scheme: "file", Bucket: "a/folder"},
		"s3":                             {Scheme: "file", Bucket: "s3"},
		"a:b":                            {Scheme: "file", Bucket: "a:b"},
	} {
		got, err := Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	for text, reason := range map[string]string{
		"":                                "needs a URL",
		"s3:/b/p":                         "begins with s3://",
		"azblob:c":                        "begins with azblob://",
		"http://b":                        "is s3, gs, azblob or file",
		"s3:///p":                         "s3://BUCKET/PREFIX",
		"s3://user:secret@b/p":            "credentials come from the environment",
		"s3://b/p#secret":                 "no fragment",
		"s3://b?secret=secret":            "may have endpoint, region, insecure",
		"s3://b?insecure=secret":          "true or false",
		"s3://b?region=":                  "has one value",
		"s3://b?region=a&region=":         "has one value",
		"s3://b?endpoint=http://secret@h": "HOST or HOST:PORT",
		"s3://b/../p":                     "no name",
		"s3://b/.hidden":                  "no name",
		"s3://b?region=%zzsecret":         "cannot be read",
		"s3://b:secret/p":                 "no URL of a bucket",
		"file://host/path":                "three slashes",
		"file:///p?region=r":              "it may have none",
		"gs://b?region=r":                 "may have endpoint, insecure",
	} {
		_, err := Parse(text)
		require.ErrorContains(t, err, reason, text)
		assert.NotContains(t, err.Error()[min(len(err.Error()), 40):], "=secret", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"s3://b/p?endpoint=h:1&insecure=true", "file:///p", "p", "azblob://c?account=a", "gs://b/a%20b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		location, err := Parse(text)
		if err != nil || location.Scheme == "file" {
			return
		}
		again, err := Parse(location.String())
		require.NoError(t, err)
		assert.Equal(t, location, again)
		assert.Equal(t, "log/x.seg", location.name(location.key("log/x.seg")))
	})
}
