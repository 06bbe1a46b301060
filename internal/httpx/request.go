package httpx

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"unicode/utf8"

	"cdsa.dev/cdsa/internal/auth"
)

const (
	maxRequestID = 64
	maxUserAgent = 256 // bytes kept for audit rows
	maxHops      = 16  // addresses of X-Forwarded-For that are looked at
)

// requestID takes the caller's id when it is plain and short, so that it can be written anywhere; else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) < 8 || len(id) > maxRequestID {
		return newRequestID()
	}
	for i := range len(id) {
		c := id[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' && c != '.' {
			return newRequestID()
		}
	}
	return id
}

// newRequestID is 130 bits in base32. They name a request and open nothing: the runtime's own generator, which needs no
// system call, will do.
func newRequestID() string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
	var id [26]byte
	for i := 0; i < len(id); i += 13 {
		bits := rand.Uint64()
		for j := range 12 {
			id[i+j] = alphabet[bits&31]
			bits >>= 5
		}
		id[i+12] = alphabet[rand.Uint32()&31] //nolint:gosec // not a secret
	}
	return string(id[:])
}

// clientIP is the peer's address or, when the peer is a trusted proxy, the last address of X-Forwarded-For that is
// not one: what stands left of it was written by whoever sent the request. "" when the peer has no address.
func clientIP(r *http.Request, trusted []netip.Prefix) string {
	peer, ok := peerAddr(r)
	if !ok {
		return ""
	}
	if !contains(trusted, peer) {
		return peer.String()
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for n := 0; n < maxHops && len(hops) > 0; n++ {
		hop, err := parseHop(strings.TrimSpace(hops[len(hops)-1]))
		if err != nil {
			break // nothing left of it can be believed
		}
		peer, hops = hop, hops[:len(hops)-1]
		if !contains(trusted, peer) {
			break
		}
	}
	return peer.String()
}

func peerAddr(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, false
	}
	return ap.Addr().Unmap().WithZone(""), true
}

// parseHop reads an address, with or without a port.
func parseHop(s string) (netip.Addr, error) {
	if host, _, err := net.SplitHostPort(s); err == nil {
		s = host
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap().WithZone(""), err
}

func contains(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// userAgent is the header as far as it is text, cut to what an audit row keeps.
func userAgent(r *http.Request) string {
	s := strings.ToValidUTF8(r.UserAgent(), "")
	if len(s) > maxUserAgent {
		s = s[:maxUserAgent]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, s)
}

// bearer reads the one Authorization header; several are as good as a wrong one.
func bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) > 1 {
		return auth.ParseBearer("", true)
	}
	if len(values) == 0 {
		return "", nil
	}
	return auth.ParseBearer(values[0], true)
}
