package oidc

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	maxBody      = 1 << 20 // bytes of any answer
	maxRedirects = 3
)

var (
	errTooLong  = errors.New("the answer is longer than a megabyte")
	errRedirect = errors.New("a redirect to another host is not followed")
)

// newClient makes the client of all outbound requests to one provider.
func newClient(timeout time.Duration) *http.Client {
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10,
	}
	return &http.Client{Transport: bounded{t}, Timeout: timeout, CheckRedirect: sameHost}
}

// sameHost lets only reads be redirected, and only within their origin: a code, a secret and a token go nowhere else.
func sameHost(r *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > maxRedirects || first.Method != http.MethodGet || r.URL.Scheme != first.URL.Scheme || r.URL.Host != first.URL.Host {
		return errRedirect
	}
	return nil
}

// bounded cuts answers off with an error; a truncated one could be taken for a whole.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = &cut{ReadCloser: res.Body, left: maxBody}
	return res, nil
}

func (b bounded) CloseIdleConnections() {
	if c, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.ReadCloser.Read(p)
	c.left -= int64(n)
	if c.left < 0 {
		return 0, errTooLong
	}
	return n, err
}
