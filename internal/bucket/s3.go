package bucket

import (
	"context"
	"crypto/md5" //nolint:gosec // S3 checks what arrived by it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3 is S3, or what speaks like it. It has to know conditional creation
// (If-None-Match), as AWS, MinIO, Ceph and R2 do.
type s3 struct {
	client    minio.Core
	bucket    string
	transport *transport

	// probe is the key of an object by which it is seen once that the service knows
	// conditional creation: one that does not would write over what is there.
	probe string
	knows atomic.Bool
}

// awsEndpoint is AWS' own.
const awsEndpoint = "s3.amazonaws.com"

func openS3(location Location, options Options) (store, error) {
	transport := newTransport(options.Timeout)
	endpoint := location.Endpoint
	if endpoint == "" {
		endpoint = awsEndpoint
	}
	core, err := minio.NewCore(endpoint, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{},
			&credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Transport: transport}},
		}),
		Secure:     !location.Insecure,
		Transport:  transport,
		Region:     s3Region(location),
		MaxRetries: 1,
	})
	if err != nil {
		return nil, err
	}
	return &s3{client: *core, bucket: location.Bucket, transport: transport, probe: location.key(probeName)}, nil
}

// probeName is none that an object has, so that no list shows it.
const probeName = ".conditional"

// s3Region is the bucket's region as far as it is known here. AWS is asked for it
// otherwise; what is only compatible mostly has none, and takes the first one's name.
func s3Region(location Location) string {
	for _, region := range []string{location.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if region != "" {
			return region
		}
	}
	if location.Endpoint != "" {
		return "us-east-1"
	}
	return ""
}

func (s *s3) create(ctx context.Context, key string, content io.ReaderAt, size int64) error {
	if err := s.knowsConditions(ctx); err != nil {
		return err
	}
	return s.put(ctx, key, content, size)
}

// knowsConditions returns an error unless the service refuses to create what is there.
func (s *s3) knowsConditions(ctx context.Context) error {
	if s.knows.Load() {
		return nil
	}
	for range 2 { // it may not be there yet
		err := s.put(ctx, s.probe, strings.NewReader(""), 0)
		if errors.Is(err, ErrExists) {
			s.knows.Store(true)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return &refusal{errors.New("the service writes over objects that are there: it does not know If-None-Match")}
}

func (s *s3) put(ctx context.Context, key string, content io.ReaderAt, size int64) error {
	sum := md5.New() //nolint:gosec // see above
	if err := readInto(sum, content, size); err != nil {
		return err
	}
	put := minio.PutObjectOptions{ContentType: "application/octet-stream"}
	put.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.bucket, key, io.NewSectionReader(content, 0, size), size, base64.StdEncoding.EncodeToString(sum.Sum(nil)), "", put)
	if minio.ToErrorResponse(err).Code == minio.NoSuchKey {
		return err // it was deleted in this instant, which is no reason not to create it
	}
	return s3Error(err)
}

func (s *s3) open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	var get minio.GetObjectOptions
	if offset > 0 || length >= 0 {
		get.Set("Range", httpRange(offset, length))
	}
	body, _, header, err := s.client.GetObject(ctx, s.bucket, key, get)
	if minio.ToErrorResponse(err).StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return empty, nil
	}
	if err != nil {
		return nil, s3Error(err)
	}
	return startingAt(offset, header, body)
}

// httpRange is a header's value; a length below zero is up to the end.
func httpRange(offset, length int64) string {
	first := "bytes=" + strconv.FormatInt(offset, 10) + "-"
	if length < 0 {
		return first
	}
	return first + strconv.FormatInt(offset+length-1, 10)
}

// startingAt returns an answer's body if it begins at an offset.
func startingAt(offset int64, header http.Header, body io.ReadCloser) (io.ReadCloser, error) {
	if offset > 0 && !strings.HasPrefix(header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)) {
		return nil, errors.Join(fmt.Errorf("the answer does not begin at %d, as was asked for", offset), body.Close())
	}
	return body, nil
}

func (s *s3) stat(ctx context.Context, key string) (Object, error) {
	info, err := s.client.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, s3Error(err)
	}
	return s3Object(info), nil
}

func s3Object(info minio.ObjectInfo) Object {
	return Object{Name: info.Key, Size: info.Size, Modified: info.LastModified}
}

// pageSize is how many objects are asked for at once.
const pageSize = 1000

// page goes on after the key that next is.
func (s *s3) page(ctx context.Context, prefix, next string) (objects []Object, then string, err error) {
	list := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, StartAfter: next, MaxKeys: pageSize}
	for info := range s.client.ListObjectsIter(ctx, s.bucket, list) {
		if info.Err != nil {
			return nil, "", s3Error(info.Err)
		}
		objects = append(objects, s3Object(info))
		if len(objects) == pageSize {
			return objects, info.Key, nil
		}
	}
	// The list ends without an error when its context does.
	return objects, "", context.Cause(ctx)
}

func (s *s3) remove(ctx context.Context, key string) error {
	return s3Error(s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}))
}

func (s *s3) close() { s.transport.close() }

// s3Error is what an error means.
func s3Error(err error) error {
	if err == nil {
		return nil
	}
	answer := minio.ToErrorResponse(err)
	switch answer.Code {
	case minio.PreconditionFailed:
		return ErrExists
	case minio.NoSuchKey:
		return ErrNotFound
	}
	if answer.StatusCode == 0 || answer.Code == "" {
		return err // nothing was answered
	}
	return byStatus(answer.StatusCode, fmt.Errorf("%s (%s, status %d)", strings.TrimSuffix(answer.Message, "."), answer.Code, answer.StatusCode))
}

// byStatus says whether an error may pass.
func byStatus(status int, err error) error {
	switch {
	case status == http.StatusPreconditionFailed:
		return ErrExists
	// A conflict is with another's creation of the same object, which is not done yet.
	case status == http.StatusRequestTimeout || status == http.StatusConflict || status == http.StatusTooManyRequests || status >= http.StatusInternalServerError:
		return err
	default:
		return &refusal{err}
	}
}
