package forwarder

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	linkv1 "github.com/promgrpc/exporter/gen/go/promgrpc/link/v1"

	"github.com/promgrpc/exporter/forwarder/remotewrite"
	"github.com/promgrpc/exporter/internal/invariant"
	"github.com/promgrpc/exporter/internal/limit"
	"github.com/promgrpc/exporter/internal/link"
	"github.com/promgrpc/exporter/internal/segment"
)

// job is a batch on its way.
type job struct {
	batch  *linkv1.Batch
	body   link.FrameBytes // of the batch's body, until it is decoded
	room   *limit.Hold     // for all else, until the verdict is sent
	digest digest
	req    *remotewrite.Request
	newest int64 // timestamp of the request, if it is dated
	dated  bool
	to     *outbox // takes the verdict; nil for a block that nobody sent

	// verdict is set when the batch was refused; otherwise it is the answer's,
	// once that is durable.
	verdict *linkv1.Verdict
	answer  answer
	// appended is when its block was appended, zero if it has none.
	appended time.Time
	replied  bool // kept where invariants are checked
	from     *state
	// earlier is what the log holds of a request that comes again under other limits.
	earlier *earlier
}

// ingest passes batches through decoding, the appender and the answers.
type ingest struct {
	limits   remotewrite.Limits
	senders  *remotewrite.SenderLabels // nil: nobody is elected
	maxBatch int                       // bytes of a body
	metrics  *metrics
	room     *limit.Budget
	idle     idle
	decode   chan *job
	append   chan *job
	answers  *gathering
	// confirming holds answers back for servers. Nil: none are waited for.
	confirming *confirming
}

// queued is how many batches may wait between two stages.
const queued = 64

func newIngest(c *LimitConfig, room *limit.Budget, m *metrics) *ingest {
	return &ingest{
		limits:   c.Limits,
		maxBatch: int(c.RequestBytes),
		metrics:  m,
		room:     room,
		decode:   make(chan *job, queued),
		append:   make(chan *job, queued),
		answers:  newGathering(),
	}
}

// submit passes a batch and the bytes of its body to decoding, once there is room for
// what becomes of it. An error, which only the context's end causes, means that there
// will be no reply.
func (in *ingest) submit(ctx context.Context, b *linkv1.Batch, body link.FrameBytes, to *outbox) error {
	j := &job{batch: b, body: body, room: in.room.Hold(to.peer), to: to}
	size, refusal := in.sizeOf(b.GetBody())
	if err := j.room.Wait(ctx, in.usual(b.GetSchema(), size)); err != nil {
		j.decoded()
		return err
	}
	if refusal != nil {
		j.decoded()
		in.reply(j, in.refused(refusal))
		to.flush()
		return nil
	}
	in.answers.expect()
	in.decode <- j
	return nil
}

// sizeOf returns how large a body is when it is decoded, or why it is refused.
func (in *ingest) sizeOf(body []byte) (int, error) {
	if len(body) > in.maxBatch {
		return 0, fmt.Errorf("%w: %w", remotewrite.ErrTooLarge,
			limit.Over(flagRequestBytes, "body of %d bytes, the limit is %d", len(body), in.maxBatch))
	}
	return remotewrite.DecodedLen(body, in.limits)
}

// decoded gives back the memory of the body.
func (j *job) decoded() {
	j.batch.Body = nil
	j.body.Release()
}

// release gives back the memory of a job but for its verdict's.
func (in *ingest) release(j *job) {
	if j.req != nil {
		in.idle.put(j.req)
		j.req = nil
	}
	_ = j.room.Resize(min(j.room.Held(), leastWork)) // Less is never refused.
}

// refused is the verdict on a batch of which nothing was stored. It counts the
// limit that the batch is over, if that is why.
func (in *ingest) refused(err error) *linkv1.Verdict {
	code := linkv1.Code_CODE_INVALID
	if errors.Is(err, remotewrite.ErrTooLarge) {
		code = linkv1.Code_CODE_TOO_LARGE
	}
	if over := (*limit.Error)(nil); errors.As(err, &over) {
		in.metrics.overLimit.WithLabelValues(over.Name).Inc()
		if over.Passing {
			code = linkv1.Code_CODE_UNAVAILABLE
		}
	}
	return &linkv1.Verdict{Code: code, Errors: []string{err.Error()}}
}

// unavailable is the verdict on a batch that is to be sent again.
func unavailable(err error) *linkv1.Verdict {
	return &linkv1.Verdict{Code: linkv1.Code_CODE_UNAVAILABLE, Errors: []string{err.Error()}}
}

// reply puts a verdict into the outbox, which has yet to be flushed. Reasons that
// make it too large for a frame are left out.
func (in *ingest) reply(j *job, v *linkv1.Verdict) {
	if invariant.On {
		invariant.Check(!j.replied, "batch %d of %s gets a second verdict", j.batch.GetId(), j.to.peer)
		j.replied = true
	}
	v.Id = j.batch.GetId()
	for len(v.Errors) > 0 && proto.Size(v) > link.MaxSmall-link.FrameRoom {
		v.Errors = v.Errors[:len(v.Errors)-1]
	}
	in.metrics.batches.WithLabelValues(v.GetCode().String()).Inc()
	j.to.put(v, j.room)
}

// decodeAll decodes until there is nothing more to come.
func (in *ingest) decodeAll() {
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for j := range in.decode {
				in.decodeOne(j)
				in.append <- j
			}
		})
	}
	wg.Wait()
	close(in.append)
}

// decodeOne decodes a batch, or refuses it.
func (in *ingest) decodeOne(j *job) {
	defer j.decoded()
	schema, ok := schemas[j.batch.GetSchema()]
	if !ok {
		in.release(j)
		j.verdict = in.refused(errors.New("schema is neither remote write 1.0 nor 2.0"))
		return
	}
	if j.req = in.idle.get(j.room.Held()); j.req == nil {
		j.req = remotewrite.NewRequest(in.limits)
		j.req.NameSenders(in.senders)
	}
	tenant := tenantOf(j.batch)
	j.digest = digestOf(byte(schema), tenant, j.batch.GetBody())
	j.req.Within(j.room.Held(), j.room.Resize)
	err := j.req.SetTenant(tenant)
	if err == nil {
		err = j.req.Decode(schema, j.batch.GetBody())
	}
	if err != nil {
		in.release(j)
		j.verdict = in.refused(err)
		return
	}
	_ = j.room.Resize(min(j.room.Held(), max(j.req.Used(), leastWork))) // Less is never refused.
	j.newest, j.dated = j.req.Newest()
}

// tenantOf returns the tenant of a batch, nil if it has none.
func tenantOf(b *linkv1.Batch) *segment.Label {
	t := b.GetTenant()
	if t == nil {
		return nil
	}
	return &segment.Label{Name: t.GetName(), Value: t.GetValue()}
}

var schemas = map[linkv1.Schema]remotewrite.Schema{
	linkv1.Schema_SCHEMA_WRITE_V1: remotewrite.V1,
	linkv1.Schema_SCHEMA_WRITE_V2: remotewrite.V2,
}

// answerAll answers each batch when it is durable, in order of appending but for those
// that wait for servers, until there is nothing more to come. It reports every writer that
// fails.
func (in *ingest) answerAll(failed func(*state, error)) {
	var group []*job
	for {
		if group = in.answers.next(group); len(group) == 0 {
			return
		}
		var waiting []*job
		for i, j := range group {
			stored := in.force(j, failed)
			switch {
			case j.to == nil:
				group[i] = nil
			case stored && in.confirming != nil:
				waiting = append(waiting, j)
				group[i] = nil
			}
		}
		in.answers.durable(len(group))
		in.answer(group)
		if len(waiting) > 0 {
			in.confirming.hold(waiting)
		}
		clear(group)
	}
}

// force waits until what a batch has stored is durable here, and decides its verdict. It
// returns false if that is not that it is stored.
func (in *ingest) force(j *job, failed func(*state, error)) bool {
	if j.verdict != nil {
		return false
	}
	// No deadline: the writer ends the wait when it breaks or is closed.
	if err := j.from.waitDurable(j.answer.place); err != nil {
		failed(j.from, err)
		j.verdict = unavailable(err)
		return false
	}
	j.verdict = verdictOf(j.answer.verdict)
	return true
}

// answer gives the verdicts of batches. Some may be nil.
func (in *ingest) answer(jobs []*job) {
	for _, j := range jobs {
		if j != nil {
			in.reply(j, j.verdict)
		}
	}
	for _, j := range jobs {
		if j != nil {
			j.to.flush()
		}
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
