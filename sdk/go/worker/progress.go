package worker

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"strings"
	"sync"
	"time"
	"unicode"

	"google.golang.org/protobuf/proto"

	"github.com/asyncflow/asyncflow/sdk/go/asyncflowpb"
	"github.com/asyncflow/asyncflow/sdk/go/internal/backoff"
)

const (
	progressInterval   = 500 * time.Millisecond
	progressTimeout    = 5 * time.Second
	reportsMax         = 1000
	metricsMax         = 32
	metricNameBytesMax = 64
)

// board has the latest word of each attempt, sent at most once per interval for all together.
type board struct {
	link   *link
	held   *held
	logger *slog.Logger

	mu      sync.Mutex
	pending map[key]*asyncflowpb.Progress
	changed chan struct{}
	// Held while the call of `run` is under way.
	sending sync.Mutex
	// Whose words are in that call.
	underWay map[key]bool
}

func newBoard(link *link, held *held, logger *slog.Logger) *board {
	return &board{
		link: link, held: held, logger: logger,
		pending: map[key]*asyncflowpb.Progress{}, changed: make(chan struct{}, 1),
	}
}

// put merges news over what is still to be sent. What a broker would refuse is left out.
func (b *board) put(of key, news *asyncflowpb.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[of] == nil {
		b.pending[of] = &asyncflowpb.Progress{}
	}
	merge(b.pending[of], clean(news))
	b.noteChange()
}

func (b *board) noteChange() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

// run sends on until the context ends.
func (b *board) run(ctx context.Context) {
	for {
		select {
		case <-b.changed:
		case <-ctx.Done():
			return
		}
		b.sendAll(ctx)
		if !backoff.Sleep(ctx, progressInterval) {
			return
		}
	}
}

func (b *board) sendAll(ctx context.Context) {
	b.sending.Lock()
	defer b.sending.Unlock()
	taken := map[key]*asyncflowpb.Progress{}
	b.mu.Lock()
	b.underWay = map[key]bool{}
	for of, progress := range b.pending {
		if len(taken) == reportsMax {
			b.noteChange()
			break
		}
		taken[of], b.underWay[of] = progress, true
		delete(b.pending, of)
	}
	b.mu.Unlock()
	err := b.send(ctx, taken)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.underWay = nil
	if err == nil {
		return
	}
	for of, older := range taken {
		if newer := b.pending[of]; newer != nil {
			merge(older, newer)
		}
		b.pending[of] = older
	}
	b.noteChange()
}

// flush sends what one attempt said last, once, before its end is told: words that came after it
// would be refused.
func (b *board) flush(ctx context.Context, of key) {
	b.mu.Lock()
	isUnderWay := b.underWay[of]
	b.mu.Unlock()
	if isUnderWay {
		b.sending.Lock()
		//lint:ignore SA2001 whoever gets the lock knows that the call has landed
		b.sending.Unlock()
	}
	b.mu.Lock()
	last := b.pending[of]
	delete(b.pending, of)
	b.mu.Unlock()
	if last != nil {
		_ = b.send(ctx, map[key]*asyncflowpb.Progress{of: last})
	}
}

// send gives an error only if sending again may help.
func (b *board) send(ctx context.Context, taken map[key]*asyncflowpb.Progress) error {
	if len(taken) == 0 {
		return nil
	}
	reports := make([]*asyncflowpb.ProgressReport, 0, len(taken))
	for of, progress := range taken {
		report := &asyncflowpb.ProgressReport{Lease: of.lease(), Progress: progress}
		reports = append(reports, report)
	}
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	answer, err := call(ctx, b.link, progressTimeout,
		func(sessionID string) *asyncflowpb.ReportProgressRequest {
			return &asyncflowpb.ReportProgressRequest{SessionId: sessionID, Reports: reports}
		}, b.link.broker.ReportProgress)
	switch {
	case err == nil:
		b.held.follow(answer.GetLeases())
		return nil
	case ctx.Err() != nil || isWorthRepeating(err):
		return err
	default:
		b.logger.Warn("progress refused", "error", err)
		return nil
	}
}

// clean leaves what is fit for the broker, which refuses a call as a whole: nonsense of one attempt
// must not cost the others their progress.
func clean(news *asyncflowpb.Progress) *asyncflowpb.Progress {
	cleaned := proto.CloneOf(news)
	if cleaned.Percent != nil && !(cleaned.GetPercent() >= 0 && cleaned.GetPercent() <= 100) {
		cleaned.Percent = nil
	}
	maps.DeleteFunc(cleaned.Metrics, func(name string, value float64) bool {
		return math.IsNaN(value) || math.IsInf(value, 0) || !isMetricName(name)
	})
	cleaned.Message = cut(strings.Map(func(char rune) rune {
		if unicode.IsControl(char) && !strings.ContainsRune("\n\r\t", char) {
			return ' '
		}
		return char
	}, cleaned.GetMessage()))
	return cleaned
}

func isMetricName(name string) bool {
	return strings.TrimSpace(name) != "" && len(name) <= metricNameBytesMax &&
		cut(name) == name && !strings.ContainsFunc(name, unicode.IsControl)
}

// merge puts news over what was said before.
func merge(into, news *asyncflowpb.Progress) {
	if news.Percent != nil {
		into.Percent = news.Percent
	}
	if news.GetMessage() != "" {
		into.Message = news.GetMessage()
	}
	for name, value := range news.GetMetrics() {
		if into.Metrics == nil {
			into.Metrics = map[string]float64{}
		}
		if _, known := into.Metrics[name]; known || len(into.Metrics) < metricsMax {
			into.Metrics[name] = value
		}
	}
}
