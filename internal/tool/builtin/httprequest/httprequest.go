// Package httprequest is the built-in tool "http_request": one HTTP request to a host on the public internet.
//
// It is the tool by which data can leave and by which someone outside can try to reach in, so it is of HIGH risk and
// refuses much: any address that is not global unicast - judged on the address dialled, for every attempt and every
// redirect, so that a name that changes its mind gains nothing -, plain http and odd ports, user names in URLs, proxies
// from the environment, and headers that carry credentials, rename the host or change the method an approver saw.
// Credentials belong in the vault, not in parameters that are stored and shown. A redirect to another origin is
// followed only by GET and HEAD and without the caller's headers.
//
// What can be judged without looking a name up is judged twice: before a call is made, so that nobody is asked to approve
// what cannot work, and again when it runs.
//
// It keeps no cookies and no connections and is safe for concurrent use. Errors are *tool.Error: TOOL_ERROR for what is refused,
// DEPENDENCY_UNAVAILABLE when the host does not answer, TIMEOUT. Neither they nor their causes hold the URL.
package httprequest

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"cdsa.dev/cdsa/internal/enum"
	"cdsa.dev/cdsa/internal/tool"
)

// Config says where the tool may go beyond its rules. The zero value is production's.
type Config struct {
	// Allow names hosts of one's own for development, as host:port (CDSA_HTTP_TOOL_ALLOW): plain http, that
	// port, and loopback or private addresses are allowed for them. Link-local addresses, where clouds keep their
	// metadata, stay refused.
	Allow []string
	// AllowHTTP lets plain http to port 80 pass everywhere.
	AllowHTTP bool
	// Resolver resolves names; nil is the machine's.
	Resolver *net.Resolver
	// RootCAs are trusted besides no others; nil is the machine's.
	RootCAs *x509.CertPool
	// AllowPrivate is for tests alone: it lets single addresses pass, whatever they are, with any port.
	AllowPrivate func(netip.AddrPort) bool
}

type input struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	Body    string            `json:"body"`
}

type output struct {
	Status    int               `json:"status"`
	Headers   map[string]string `json:"headers"` // lower-case names; those of shownHeaders
	Body      string            `json:"body"`
	Encoding  string            `json:"encoding"`  // of body: text or base64
	Bytes     int               `json:"bytes"`     // of the body as received, after decompression, as far as it was read
	Truncated bool              `json:"truncated"` // body is not all of it
	FinalURL  string            `json:"finalUrl"`  // after redirects
	Redirects int               `json:"redirects"`
}

const (
	maxURL  = 2_048   // characters
	maxBody = 128_000 // characters of a request's body
)

// New makes the tool. It fails on a malformed Allow entry.
func New(cfg Config) (tool.Builtin, error) {
	g := &guard{allowPrivate: cfg.AllowPrivate, allowHTTP: cfg.AllowHTTP, trusted: map[string]bool{}}
	for _, entry := range cfg.Allow {
		host, port, err := net.SplitHostPort(strings.TrimSpace(entry))
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil || n == 0 || !plainHost(host) {
			return tool.Builtin{}, fmt.Errorf("httprequest: the allowed host %q is not of the form host:port", entry)
		}
		g.trusted[hostPort(host, uint16(n))] = true
	}
	c := newClient(cfg, g)
	return tool.TypedChecked(definition(), g.check, func(ctx context.Context, _ tool.Call, in input) (output, enum.Sensitivity, error) {
		out, err := c.do(ctx, in)
		return out, enum.SensitivityInternal, err
	})
}

func definition() tool.Definition {
	type m = map[string]any
	whole := m{"type": "integer", "minimum": 0}
	return tool.Definition{
		Name:        "http_request",
		DisplayName: "HTTP request",
		Description: "Sends one HTTPS request to a host on the public internet and returns the answer. A person must approve each call. " +
			"Credentials cannot be sent.",
		Category:  enum.ToolCategoryApiCalls,
		RiskLevel: enum.RiskLevelHigh,
		Schema: m{"type": "object", "required": []any{"url"}, "additionalProperties": false, "properties": m{
			"method":  m{"enum": []any{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, "default": "GET", "description": "GET when left out."},
			"url":     m{"type": "string", "minLength": 1, "maxLength": maxURL, "description": "An absolute URL, such as https://example.org/path."},
			"headers": m{"type": "object", "maxProperties": maxHeaders, "additionalProperties": m{"type": "string", "maxLength": 2_048}, "description": "Header names and values."},
			"body":    m{"type": "string", "maxLength": maxBody, "description": "The body of a POST, PUT, PATCH or DELETE."}}},
		OutputSchema: m{"type": "object", "additionalProperties": false,
			"required": []any{"status", "headers", "body", "encoding", "bytes", "truncated", "finalUrl", "redirects"},
			"properties": m{"status": whole, "headers": m{"type": "object", "additionalProperties": m{"type": "string"}}, "body": m{"type": "string"},
				"encoding": m{"enum": []any{"text", "base64"}}, "bytes": whole, "truncated": m{"type": "boolean"}, "finalUrl": m{"type": "string"}, "redirects": whole}},
		Hints:          tool.Hints{Destructive: true, OpenWorld: true},
		TimeoutSeconds: 30, MaxConcurrent: 4,
	}
}
