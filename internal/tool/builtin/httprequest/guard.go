package httprequest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

var errBlocked = errors.New("the address is not public")

// special are the parts of the global unicast space that are not the public internet. Sources: the IANA IPv4 and
// IPv6 special-purpose address registries (RFC 6890 and what has been added since).
var special = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // carrier-grade NAT, RFC 6598
	"127.0.0.0/8",       // loopback
	"168.63.129.16/32",  // a cloud's own services behind a public-looking address
	"169.254.0.0/16",    // link-local, with the metadata services of clouds
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // IETF protocol assignments
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relay, deprecated
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved, broadcast
	"2001::/23",         // IETF protocol assignments: Teredo, ORCHID, benchmarks
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4, which embeds an IPv4 address
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

// globalUnicast6 is all that IANA has given out of IPv6. What is outside it - loopback, unique and link-local, multicast,
// IPv4-compatible, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), segment routing - is refused with it.
var globalUnicast6 = netip.MustParsePrefix("2000::/3")

func prefixes(ss ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(ss))
	for i, s := range ss {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// public says whether an address is on the public internet. An IPv4 address mapped into IPv6 is judged as what it is.
func public(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if a.Is6() && !globalUnicast6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	if v4, ok := isatap(a); ok {
		return public(v4)
	}
	return true
}

// isatap finds the IPv4 address inside an ISATAP interface identifier (RFC 5214 section 6.1), behind any prefix.
func isatap(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	if b[8]&^2 != 0 || b[9] != 0 || b[10] != 0x5e || b[11] != 0xfe {
		return netip.Addr{}, false
	}
	return netip.AddrFrom4([4]byte(b[12:])), true
}

// guard decides about hosts by name and about addresses as they are dialled.
type guard struct {
	trusted      map[string]bool // host:port of Config.Allow
	allowHTTP    bool
	allowPrivate func(netip.AddrPort) bool
}

// dialable judges an address that is about to be dialled for a host (both with port).
func (g *guard) dialable(host string, ap netip.AddrPort) bool {
	a := ap.Addr().Unmap()
	switch {
	case public(ap.Addr()):
		return true
	case g.allowPrivate != nil && g.allowPrivate(netip.AddrPortFrom(a, ap.Port())):
		return true
	default:
		return g.trusted[host] && a.Zone() == "" && (a.IsLoopback() || a.IsPrivate())
	}
}

// dial resolves and connects; the check runs in the dialer, on each address it tries, after the name was resolved
// and before a packet leaves.
func (g *guard) dial(base net.Dialer) func(ctx context.Context, network, addr string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, err := canonicalAddr(addr)
		if err != nil {
			return nil, err
		}
		d := base
		d.ControlContext = func(_ context.Context, network, address string, _ syscall.RawConn) error {
			ap, err := netip.ParseAddrPort(address)
			if err != nil || !strings.HasPrefix(network, "tcp") || !g.dialable(host, ap) {
				return errBlocked
			}
			return nil
		}
		return d.DialContext(ctx, network, addr)
	}
}

func canonicalAddr(addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return "", err
	}
	return hostPort(host, uint16(n)), nil
}

// hostPort is the form hosts are compared in.
func hostPort(host string, port uint16) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		host = a.Unmap().String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// plainHost is a name in ASCII or an IP address without a zone.
func plainHost(h string) bool {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Zone() == ""
	}
	return h != "" && len(h) <= 253 && strings.Trim(strings.ToLower(h), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == "" && !strings.HasPrefix(h, ".")
}

// numeric says whether a host ends in a number, as no name on the internet does: resolvers read 127.1, 2130706433 and
// 0x7f.1 as addresses.
func numeric(h string) bool {
	last := strings.ToLower(strings.TrimSuffix(h, "."))
	last = last[strings.LastIndexByte(last, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
