package forwarder

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"golang.org/x/sync/semaphore"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/segment"
)

// job is a batch on its way.
type job struct {
	batch  *linkv1.Batch
	digest digest
	weight int64
	req    *remotewrite.Request
	// reply is called once, and must not block.
	reply func(*linkv1.Verdict)

	answer answer
	from   *state
}

// ingest takes batches through decoding, the appender and the answers.
type ingest struct {
	limits   remotewrite.Limits
	metrics  *metrics
	room     *semaphore.Weighted
	capacity int64
	requests sync.Pool
	decode   chan *job
	append   chan *job
	answers  chan *job
}

// queued is how many batches may wait between two stages.
const queued = 64

func newIngest(limits remotewrite.Limits, inFlight int64, m *metrics) *ingest {
	in := &ingest{
		limits:   limits,
		metrics:  m,
		room:     semaphore.NewWeighted(inFlight),
		capacity: inFlight,
		decode:   make(chan *job, queued),
		append:   make(chan *job, queued),
		answers:  make(chan *job, queued),
	}
	in.requests.New = func() any { return remotewrite.NewRequest(limits) }
	return in
}

// submit takes a batch, waiting until there is room for it. When it returns an
// error, which only the context's end brings about, there will be no reply.
func (in *ingest) submit(ctx context.Context, b *linkv1.Batch, reply func(*linkv1.Verdict)) error {
	j := &job{batch: b, reply: reply}
	size, err := remotewrite.DecodedLen(b.GetBody(), in.limits)
	if err != nil {
		in.refuse(j, err)
		return nil
	}
	j.weight = min(int64(size+len(b.GetBody())), in.capacity)
	if err := in.room.Acquire(ctx, j.weight); err != nil {
		return err
	}
	in.metrics.inFlight.Add(float64(j.weight))
	in.decode <- j
	return nil
}

// release gives back the memory of a job.
func (in *ingest) release(j *job) {
	if j.req != nil {
		in.requests.Put(j.req)
		j.req = nil
	}
	j.batch.Body = nil
	in.room.Release(j.weight)
	in.metrics.inFlight.Sub(float64(j.weight))
	j.weight = 0
}

// refuse answers a batch of which nothing was stored.
func (in *ingest) refuse(j *job, err error) {
	code := linkv1.Code_CODE_INVALID
	if errors.Is(err, remotewrite.ErrTooLarge) {
		code = linkv1.Code_CODE_TOO_LARGE
	}
	in.finish(j, &linkv1.Verdict{Code: code, Errors: []string{err.Error()}})
}

// unavailable answers a batch that may be sent again.
func (in *ingest) unavailable(j *job, err error) {
	in.finish(j, &linkv1.Verdict{Code: linkv1.Code_CODE_UNAVAILABLE, Errors: []string{err.Error()}})
}

func (in *ingest) finish(j *job, v *linkv1.Verdict) {
	v.Id = j.batch.GetId()
	in.metrics.batches.WithLabelValues(v.GetCode().String()).Inc()
	j.reply(v)
}

// decodeAll decodes until there is nothing more to come.
func (in *ingest) decodeAll() {
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range in.decode {
				in.decodeOne(j)
			}
		})
	}
	wg.Wait()
	close(in.append)
}

func (in *ingest) decodeOne(j *job) {
	schema, ok := schemas[j.batch.GetSchema()]
	if !ok {
		in.release(j)
		in.refuse(j, errors.New("schema is neither remote write 1.0 nor 2.0"))
		return
	}
	j.req = in.requests.Get().(*remotewrite.Request)
	j.digest = digestOf(byte(schema), j.batch.GetBody())
	if err := j.req.Decode(schema, j.batch.GetBody()); err != nil {
		in.release(j)
		in.refuse(j, err)
		return
	}
	in.append <- j
}

var schemas = map[linkv1.Schema]remotewrite.Schema{
	linkv1.Schema_SCHEMA_WRITE_V1: remotewrite.V1,
	linkv1.Schema_SCHEMA_WRITE_V2: remotewrite.V2,
}

// answerAll answers in order of appending, each batch when it is durable, until
// there is nothing more to come. It reports every writer that fails.
func (in *ingest) answerAll(failed func(*state, error)) {
	for j := range in.answers {
		// No deadline: the writer ends the wait when it breaks or is closed.
		if err := j.from.writer.WaitDurable(context.Background(), j.answer.sequence); err != nil {
			failed(j.from, err)
			in.unavailable(j, err)
			continue
		}
		in.finish(j, verdictOf(j.answer.verdict))
	}
}

func verdictOf(v segment.Verdict) *linkv1.Verdict {
	return &linkv1.Verdict{
		Code:              linkv1.Code(v.Code),
		SamplesWritten:    uint64(v.Samples),
		HistogramsWritten: uint64(v.Histograms),
		ExemplarsWritten:  uint64(v.Exemplars),
		Rejected:          uint64(v.Rejected),
		Errors:            v.Errors,
	}
}
