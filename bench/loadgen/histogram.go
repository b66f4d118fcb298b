package loadgen

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// subBits is how many bits below the leading one a bucket keeps: 32 buckets a
// power of two, so a quantile is at most 3 % too high.
const subBits = 5

// Histogram counts durations. Any number of goroutines may record; the zero
// value is ready.
type Histogram struct {
	counts [64 << subBits]atomic.Uint64
	max    atomic.Int64
	total  atomic.Uint64
}

func bucketOf(ns uint64) int {
	if ns < 1<<subBits {
		return int(ns)
	}
	shift := bits.Len64(ns) - 1 - subBits
	return (shift+1)<<subBits | int(ns>>shift)&(1<<subBits-1)
}

// upper is the largest duration of a bucket, nanoseconds.
func upper(bucket int) uint64 {
	if bucket < 1<<subBits {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	return (uint64(1<<subBits|bucket&(1<<subBits-1))+1)<<shift - 1
}

// Record adds one duration; negative ones count as 0.
func (h *Histogram) Record(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))].Add(1)
	h.total.Add(1)
	for {
		old := h.max.Load()
		if int64(d) <= old || h.max.CompareAndSwap(old, int64(d)) {
			return
		}
	}
}

// Count is how many durations were recorded.
func (h *Histogram) Count() uint64 { return h.total.Load() }

// Quantile returns the duration that the share q (0 to 1) of all does not
// exceed; 0 when there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.total.Load()
	if total == 0 {
		return 0
	}
	want := uint64(q*float64(total) + 0.5)
	var sum uint64
	for i := range h.counts {
		if sum += h.counts[i].Load(); sum >= max(want, 1) {
			return min(time.Duration(upper(i)), time.Duration(h.max.Load()))
		}
	}
	return time.Duration(h.max.Load())
}

// Latency is a histogram's summary, in milliseconds.
type Latency struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

// Summary returns the quantiles that the reports show.
func (h *Histogram) Summary() Latency {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	return Latency{Count: h.Count(), P50: ms(h.Quantile(.5)), P90: ms(h.Quantile(.9)), P99: ms(h.Quantile(.99)),
		P999: ms(h.Quantile(.999)), Max: ms(time.Duration(h.max.Load()))}
}
