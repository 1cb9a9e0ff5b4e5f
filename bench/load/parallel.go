// Many pieces of like work, done by several workers at once.
package main

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// inParallel does count pieces of work, begun in their order, each worker with what newWorker gave it. After a failure no
// more are begun.
func inParallel(workers, count int, newWorker func() (work func(n int) error, done func())) error {
	var next atomic.Int64
	var firstError atomic.Pointer[error]
	var group sync.WaitGroup
	for i := 0; i < workers; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			work, done := newWorker()
			defer done()
			for n := int(next.Add(1)) - 1; n < count && firstError.Load() == nil; n = int(next.Add(1)) - 1 {
				if err := work(n); err != nil {
					err = fmt.Errorf("%d of %d: %w", n, count, err)
					firstError.CompareAndSwap(nil, &err)
				}
			}
		}()
	}
	group.Wait()
	if err := firstError.Load(); err != nil {
		return *err
	}
	return nil
}
