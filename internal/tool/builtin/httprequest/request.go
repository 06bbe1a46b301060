package httprequest

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/tool"
)

const (
	maxHeaders      = 32
	maxHeaderValues = 8 << 10 // bytes of all names and values
)

// withheld are the headers a caller may not set, by the reason given.
var withheld = map[string]string{
	"authorization": credential, "cookie": credential, "cookie2": credential, "set-cookie": credential, "x-api-key": credential, "api-key": credential,
	"x-auth-token": credential, "x-access-token": credential,
	"host": protocol, "connection": protocol, "keep-alive": protocol, "te": protocol, "trailer": protocol, "transfer-encoding": protocol, "upgrade": protocol,
	"content-length": protocol, "expect": protocol, "accept-encoding": protocol, "http2-settings": protocol,
	"forwarded": disguise, "via": disguise, "x-real-ip": disguise, "x-http-method": disguise, "x-http-method-override": disguise, "x-method-override": disguise,
	"metadata": disguise, "metadata-flavor": disguise, "x-aws-ec2-metadata-token": disguise,
}

var withheldPrefixes = map[string]string{"proxy-": protocol, "sec-": disguise, "x-forwarded-": disguise}

const (
	credential = "carries credentials, which may not stand in parameters"
	protocol   = "belongs to the connection and is set by the server"
	disguise   = "would make the request another one than the approver saw"
)

// check says, before the call is made, what of it is refused whatever a name leads to.
func (g *guard) check(in input) map[string]string {
	bad := map[string]string{}
	note := func(field string, err error) {
		if e, ok := tool.AsError(err); ok {
			bad["parameters."+field] = e.Message
		}
	}
	if in.Body != "" && bodiless(in.Method) {
		note("body", noBody(in.Method))
	}
	u, err := parse(in.URL)
	if err == nil {
		err = g.target(u)
	}
	note("url", err)
	_, err = headers(in)
	note("headers", err)
	return bad
}

func parse(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, tool.Fail("The URL cannot be read.") // the parser's error holds it
	}
	return u, nil
}

// bodiless says whether a method has no body; no method is GET.
func bodiless(method string) bool {
	return method == "" || method == http.MethodGet || method == http.MethodHead
}

func noBody(method string) error {
	return tool.Fail("A %s request has no body.", cmp.Or(method, http.MethodGet))
}

// target checks a URL, at first and after each redirect.
func (g *guard) target(u *url.URL) error {
	if u.Opaque != "" || u.Host == "" || len(u.String()) > maxURL {
		return tool.Fail("The URL must be absolute, such as https://example.org/path, and at most %d characters long.", maxURL)
	}
	if u.User != nil {
		return tool.Fail("The URL must not hold a user name or password.")
	}
	host := u.Hostname()
	if !plainHost(host) {
		return tool.Fail("The host of the URL must be a name in ASCII (xn--… where it has other letters) or an IP address.")
	}
	if _, err := netip.ParseAddr(host); err != nil && numeric(host) {
		return tool.Fail("The host of the URL is neither a name nor an IP address.")
	}
	port, err := portOf(u)
	if err != nil {
		return err
	}
	trusted := g.trusted[hostPort(host, port)]
	a, literalErr := netip.ParseAddr(host)
	literal := literalErr == nil
	if literal && !g.dialable(hostPort(host, port), netip.AddrPortFrom(a, port)) {
		return blocked
	}
	excepted := trusted || g.allowPrivate != nil && literal && g.allowPrivate(netip.AddrPortFrom(a.Unmap(), port))
	switch {
	case u.Scheme == "http" && !g.allowHTTP && !excepted:
		return tool.Fail("Only https is allowed; plain http can be read on the way.")
	case !excepted && g.allowPrivate == nil && (u.Scheme != "https" || port != 443) && (u.Scheme != "http" || port != 80):
		return tool.Fail("Only the standard port of the scheme is allowed.")
	}
	return nil
}

var blocked = tool.Fail("This host is not on the public internet; the tool does not go there.")

func portOf(u *url.URL) (uint16, error) {
	switch p := u.Port(); {
	case u.Scheme != "http" && u.Scheme != "https":
		return 0, tool.Fail("The URL must begin with https://.")
	case p == "" && strings.HasSuffix(u.Host, ":"):
		return 0, tool.Fail("The port of the URL is missing.")
	case p == "" && u.Scheme == "http":
		return 80, nil
	case p == "":
		return 443, nil
	default:
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return 0, tool.Fail("The port of the URL is not a port.")
		}
		return uint16(n), nil
	}
}

// headers checks the caller's headers and adds what a body needs.
func headers(in input) (http.Header, error) {
	h := http.Header{}
	size := 0
	for name, value := range in.Headers {
		lower := strings.ToLower(name)
		why, bad := withheld[lower]
		for prefix, reason := range withheldPrefixes {
			if strings.HasPrefix(lower, prefix) {
				why, bad = reason, true
			}
		}
		switch size += len(name) + len(value); {
		case !token(name):
			return nil, tool.Fail("A header's name must consist of letters, digits and hyphens.")
		case bad:
			return nil, tool.Fail("The header %s %s.", lower, why)
		case strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
			return nil, tool.Fail("The value of the header %s must be ASCII text without line breaks.", lower)
		case size > maxHeaderValues:
			return nil, tool.Fail("The headers are larger than %d KiB.", maxHeaderValues>>10)
		case h.Get(name) != "":
			return nil, tool.Fail("The header %s is given twice.", lower)
		}
		h.Set(name, value)
	}
	if h.Get("User-Agent") == "" {
		h.Set("User-Agent", "cdsa-http-request/1")
	}
	if in.Body != "" && h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
		if json.Valid([]byte(in.Body)) {
			h.Set("Content-Type", "application/json")
		}
	}
	return h, nil
}

// token is a conservative part of RFC 9110 section 5.6.2.
func token(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
