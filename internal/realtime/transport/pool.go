package transport

import "sync"

// maxIdle is how many goroutines wait for work; their stacks stay grown. More run when there is more to do.
const maxIdle = 16

// pool runs functions on goroutines that are kept a while. No function waits for another.
type pool struct {
	work chan func()
	done chan struct{}
	once sync.Once
	idle chan struct{}
	wg   sync.WaitGroup
}

func (p *pool) init() {
	p.work = make(chan func())
	p.done = make(chan struct{})
	p.idle = make(chan struct{}, maxIdle)
}

// run starts f at once. f recovers for itself. Not to be called after close.
func (p *pool) run(f func()) {
	select {
	case p.work <- f:
	default:
		p.wg.Go(func() { p.worker(f) })
	}
}

func (p *pool) worker(f func()) {
	f()
	select {
	case p.idle <- struct{}{}:
		defer func() { <-p.idle }()
	default:
		return
	}
	for {
		select {
		case f = <-p.work:
			f()
		case <-p.done:
			return
		}
	}
}

// close waits for what runs.
func (p *pool) close() {
	p.once.Do(func() { close(p.done) })
	p.wg.Wait()
}
