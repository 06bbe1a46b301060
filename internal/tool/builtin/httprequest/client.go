package httprequest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"cdsa.dev/cdsa/internal/tool"
)

const maxRedirects = 5

// shownHeaders are the headers of an answer that the result has; cookies are never among them.
var shownHeaders = []string{"Content-Type", "Content-Language", "Content-Length", "Content-Location", "Date", "Etag", "Last-Modified", "Cache-Control", "Expires",
	"Location", "Link", "Retry-After", "Allow", "Warning"}

// carried are the headers that may follow a redirect to another origin.
var carried = []string{"Accept", "Accept-Language", "User-Agent"}

type client struct {
	guard     *guard
	transport *http.Transport
}

func newClient(cfg Config, g *guard) *client {
	return &client{g, &http.Transport{
		Proxy:                  nil, // a proxy would dial for us, where no check reaches
		DialContext:            g.dial(net.Dialer{Timeout: 10 * time.Second, Resolver: cfg.Resolver}),
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.RootCAs},
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true, // every request dials and is checked
		MaxResponseHeaderBytes: 64 << 10,
	}}
}

// hop is one request of a chain of redirects.
type hop struct {
	method string
	url    *url.URL
	header http.Header
	body   string
}

func (c *client) do(ctx context.Context, in input) (output, error) {
	if in.Method == "" {
		in.Method = http.MethodGet
	}
	if in.Body != "" && bodiless(in.Method) {
		return output{}, noBody(in.Method)
	}
	u, err := parse(in.URL)
	if err != nil {
		return output{}, err
	}
	h, err := headers(in)
	if err != nil {
		return output{}, err
	}
	next := hop{in.Method, u, h, in.Body}
	for redirects := 0; ; redirects++ {
		if err := c.guard.target(next.url); err != nil {
			return output{}, err
		}
		resp, err := c.send(ctx, next)
		if err != nil {
			return output{}, explain(ctx, err)
		}
		to, redirected := location(resp)
		if !redirected {
			return c.answer(ctx, resp, next, redirects)
		}
		_ = resp.Body.Close() // its body is of no interest, nor is how closing it went
		if redirects == maxRedirects {
			return output{}, tool.Fail("The host redirects more than %d times.", maxRedirects)
		}
		if next, err = next.follow(resp.StatusCode, to); err != nil {
			return output{}, err
		}
	}
}

func (c *client) send(ctx context.Context, h hop) (*http.Response, error) {
	var body io.Reader
	if h.body != "" {
		body = strings.NewReader(h.body)
	}
	u := *h.url
	u.Fragment, u.RawFragment = "", ""
	req, err := http.NewRequestWithContext(ctx, h.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.Header = h.header.Clone()
	return c.transport.RoundTrip(req)
}

func (c *client) answer(ctx context.Context, resp *http.Response, h hop, redirects int) (out output, err error) {
	defer func() {
		if cerr := resp.Body.Close(); cerr != nil && err == nil && !out.Truncated {
			out, err = output{}, explain(ctx, cerr)
		}
	}()
	u := *h.url
	u.Fragment, u.RawFragment = "", ""
	out = output{Status: resp.StatusCode, Headers: map[string]string{}, FinalURL: u.String(), Redirects: redirects}
	for _, name := range shownHeaders {
		if v := resp.Header.Get(name); v != "" {
			out.Headers[strings.ToLower(name)] = headerText(v)
		}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxRead+1))
	if err != nil {
		return output{}, explain(ctx, err)
	}
	out.fill(raw, resp.Header.Get("Content-Type"))
	return out, nil
}

// location gives where a redirect leads; an answer without a usable Location is an answer.
func location(resp *http.Response) (*url.URL, bool) {
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		u, err := resp.Location()
		return u, err == nil
	}
	return nil, false
}

// follow makes the next request of a chain. The methods are those of RFC 9110 section 15.4 as browsers read it.
func (h hop) follow(status int, to *url.URL) (hop, error) {
	next := hop{h.method, to, h.header, h.body}
	safe := h.method == http.MethodGet || h.method == http.MethodHead
	if !safe && status != http.StatusTemporaryRedirect && status != http.StatusPermanentRedirect {
		next.method, next.body = http.MethodGet, ""
		next.header = h.header.Clone()
		next.header.Del("Content-Type")
		safe = true
	}
	if h.url.Scheme == "https" && to.Scheme != "https" {
		return hop{}, tool.Fail("The host redirects from https to plain http; the tool does not follow.")
	}
	if sameOrigin(h.url, to) {
		return next, nil
	}
	if !safe {
		return hop{}, tool.Fail("The host asks for the request to be sent to another host, which nobody approved; send it there yourself.")
	}
	next.header = http.Header{}
	for _, name := range carried {
		if v := h.header.Get(name); v != "" {
			next.header.Set(name, v)
		}
	}
	return next, nil
}

func sameOrigin(a, b *url.URL) bool {
	p, err1 := portOf(a)
	q, err2 := portOf(b)
	return err1 == nil && err2 == nil && a.Scheme == b.Scheme && hostPort(a.Hostname(), p) == hostPort(b.Hostname(), q)
}

// explain turns what net/http says into a sentence. The cause loses what holds the URL, the host or its address.
func explain(ctx context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var (
		netErr  net.Error
		dns     *net.DNSError
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		cert    *tls.CertificateVerificationError
	)
	cause := err
	if op := (*net.OpError)(nil); errors.As(err, &op) {
		cause = op.Err // without the address
	}
	switch {
	case errors.Is(err, errBlocked):
		return blocked
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return tool.TimedOut(context.DeadlineExceeded, "The host did not answer in time.")
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &dns) && dns.IsNotFound:
		return tool.Fail("There is no host of this name.")
	case errors.As(err, &dns):
		return tool.Unavailable(errors.New("name resolution failed"), "The name of the host could not be resolved; try again later.")
	case errors.As(err, &netErr) && netErr.Timeout():
		return tool.TimedOut(cause, "The host did not answer in time.")
	case errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.As(err, &cert):
		return tool.Unavailable(errors.New("certificate verification failed"), "The host's certificate is not valid, so the connection is not safe.")
	default:
		return tool.Unavailable(cause, "The host could not be reached or broke off the connection.")
	}
}
