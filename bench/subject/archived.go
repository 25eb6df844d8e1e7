package subject

import (
	"os"
	"path/filepath"

	"github.com/promgrpc/exporter/bench/read"
)

// HasBucket says whether an S3 server is installed in a folder.
func HasBucket(tools string) bool {
	_, err := os.Stat(filepath.Join(tools, "versitygw"))
	return err == nil
}

// Archived is the project with one server that keeps the log in a bucket, in small segments.
// The system's Late server has nothing but the bucket.
func Archived(name, version string) Kind {
	return Kind{Name: name, Project: true, Write: 1, Version: version, start: (*System).archived}
}

func (s *System) archived() error {
	a, err := addresses(4)
	if err != nil {
		return err
	}
	objects := s.data("objects")
	if err := os.MkdirAll(filepath.Join(objects, "bench"), 0o700); err != nil {
		return err
	}
	const key, secret = "bench", "bench-secret"
	gateway := s.add("bucket", filepath.Join(s.tools, "versitygw"), "http://"+a[0]+"/health",
		"--port="+a[0], "--health=/health", "--quiet", "posix", objects)
	gateway.env = []string{"ROOT_ACCESS_KEY=" + key, "ROOT_SECRET_KEY=" + secret}
	credentials := []string{"AWS_ACCESS_KEY_ID=" + key, "AWS_SECRET_ACCESS_KEY=" + secret}
	bucket := []string{"--bucket=s3://bench?endpoint=" + a[0] + "&insecure=true", "--bucket.interval=1s"}
	if err := s.project(1, parts{forwarder: []string{"--storage.segment.size=1MiB"}, server: bucket}); err != nil {
		return err
	}
	s.Servers[0].env = credentials
	s.Late = &Process{
		Name: "late", log: filepath.Join(s.Dir, "late.log"), ready: "http://" + a[1] + "/-/healthy", env: credentials,
		binary: filepath.Join(s.bin, "prometheus-api-server"),
		args: append([]string{
			"--link.listen-address=" + a[2], "--web.listen-address=" + a[1], "--rpc.listen-address=" + a[3],
			"--instance=late", "--storage.path=" + s.data("late"),
		}, bucket...),
	}
	s.LateRPC = read.Server{Address: a[3]}
	return nil
}
