// Latencies in buckets whose width is 1/32 of their value: constant memory, 3 % error, safe for concurrent use.
package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const subBits = 5

type histogram struct {
	counts [(64 - subBits) << subBits]atomic.Int64
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))].Add(1)
}

func (h *histogram) add(other *histogram) {
	for i := range h.counts {
		if n := other.counts[i].Load(); n > 0 {
			h.counts[i].Add(n)
		}
	}
}

func (h *histogram) total() int64 {
	var n int64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// milliseconds gives the latency that the share q (0 to 1) of the samples didn't exceed.
func (h *histogram) milliseconds(q float64) float64 {
	total := h.total()
	if total == 0 {
		return 0
	}
	wanted := int64(q*float64(total-1)) + 1
	var seen int64
	for i := range h.counts {
		seen += h.counts[i].Load()
		if seen >= wanted {
			return float64(middleOf(i)) / 1e6
		}
	}
	return 0
}

func bucketOf(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return (shift+1)<<subBits + int(v>>shift) - 1<<subBits
}

func middleOf(bucket int) uint64 {
	if bucket < 1<<subBits {
		return uint64(bucket)
	}
	shift := bucket>>subBits - 1
	low := uint64(bucket&(1<<subBits-1)+1<<subBits) << shift
	return low + (uint64(1)<<shift)/2
}
