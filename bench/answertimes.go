package main

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/promgrpc/exporter/bench/report"
	"github.com/promgrpc/exporter/bench/subject"
)

// answerTimes measures the time from posting a request to its answer, at 100,000 samples a
// second.
func (b *bench) answerTimes(ctx context.Context, k subject.Kind) error {
	const series, pace = 100_000, 100_000
	b.logger.Info("measure", "what", "answers", "system", k.Name)
	p := b.plan(series, k.Write)
	p.Rounds = 1 + max(1, int(b.live.Seconds()*pace)/series)
	s, l, err := b.start(ctx, k, p)
	if err != nil {
		return err
	}
	defer s.Stop()
	if _, err := b.ingest(ctx, k, s, l, 0, 1); err != nil {
		return err
	}
	var mu sync.Mutex
	var delays []time.Duration
	sender := b.sender(k, s, l)
	sender.Rate = pace / float64(b.perRequest)
	sender.Answered = func(_ int, after time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		delays = append(delays, after)
	}
	if _, err := sender.Send(ctx, l.Rounds(1, p.Rounds)); err != nil {
		return err
	}
	slices.Sort(delays)
	add := b.adder(series, k.Name)
	add(report.AnswerHalf, "s", delays[len(delays)/2].Seconds())
	add(report.AnswerMost, "s", delays[len(delays)*99/100].Seconds())
	return nil
}
