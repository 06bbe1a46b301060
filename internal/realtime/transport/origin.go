package transport

import (
	"net/http"
	"net/url"
	"strings"
)

func originSet(origins []string) map[string]bool {
	m := make(map[string]bool, len(origins))
	for _, o := range origins {
		m[strings.TrimSuffix(strings.ToLower(o), "/")] = true
	}
	return m
}

// originAllowed: none (a native client), the server's own, or a listed one.
func (s *Server) originAllowed(r *http.Request) bool {
	h := r.Header.Values("Origin")
	switch len(h) {
	case 0:
		return true
	case 1:
	default:
		return false
	}
	if s.origins[strings.ToLower(h[0])] {
		return true
	}
	u, err := url.Parse(h[0])
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

// crossSite says whether another site's page caused the request.
func (s *Server) crossSite(r *http.Request) bool {
	if !s.originAllowed(r) {
		return true
	}
	return r.Header.Get("Sec-Fetch-Site") == "cross-site" && !s.origins[strings.ToLower(r.Header.Get("Origin"))]
}
