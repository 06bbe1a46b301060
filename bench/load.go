//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// clients is how many requests are under way at once.
const clients = 8

// call is one request and what a right answer to it is.
type call struct {
	path, token string
	body        []byte
	right       func(answer []byte) error
}

// exactly wants one answer, byte for byte.
func exactly(want []byte) func([]byte) error {
	return func(got []byte) error {
		if !bytes.Equal(got, want) {
			return fmt.Errorf("the answer is %.300s, not %.300s", got, want)
		}
		return nil
	}
}

var httpClient = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2 * clients, DisableCompression: true}}

// post sends a call and gives the answer, which is read into buf.
func post(ctx context.Context, base string, c call, buf *bytes.Buffer) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+c.path, bytes.NewReader(c.body))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/json"}
	req.Header["Accept"] = []string{"application/graphql-response+json"}
	if c.token != "" {
		req.Header["Authorization"] = []string{"Bearer " + c.token}
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	buf.Reset()
	if _, err := io.Copy(buf, res.Body); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %.300s", c.path, res.Status, buf)
	}
	return withoutCost(buf.Bytes()), nil
}

// withoutCost cuts what is left of the caller's budget off an answer: it is the server's alone, and never twice the same.
func withoutCost(answer []byte) []byte {
	i := bytes.LastIndex(answer, []byte(`,"extensions":{"cost":{"limit":`))
	if i < 0 || !bytes.HasSuffix(answer, []byte(`"}}}`)) {
		return answer
	}
	return append(answer[:i], '}')
}

// drive sends calls from several clients at once, for a time and at most so many, and checks every answer. It gives how
// many were answered.
func drive(ctx context.Context, base string, limit time.Duration, most int, next func(i int) call) (int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(limit)
	var taken, answered atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			var buf bytes.Buffer
			for time.Now().Before(end) && ctx.Err() == nil {
				i := int(taken.Add(1)) - 1
				if i >= most {
					return
				}
				c := next(i)
				answer, err := post(ctx, base, c, &buf)
				if err == nil {
					err = c.right(answer)
				}
				if err != nil {
					cancel(err)
					return
				}
				answered.Add(1)
			}
		})
	}
	wg.Wait()
	return int(answered.Load()), context.Cause(ctx)
}
