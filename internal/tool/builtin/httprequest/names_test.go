package httprequest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// names answers DNS questions on loopback; a name's answers are given in turn, the last one for ever.
type names struct {
	mu      sync.Mutex
	answers map[string][][]netip.Addr
	asked   map[string]int
}

func (n *names) set(name string, turns ...[]netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[name+"."] = turns
	n.asked[name+"."] = 0
}

func (n *names) answer(q dnsmessage.Question) []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	name := strings.ToLower(q.Name.String())
	turns := n.answers[name]
	if len(turns) == 0 {
		return nil
	}
	addrs := turns[min(n.asked[name]/2, len(turns)-1)] // a turn is two questions: the resolver asks for both kinds
	n.asked[name]++
	var out []netip.Addr
	for _, a := range addrs {
		if a.Is4() == (q.Type == dnsmessage.TypeA) {
			out = append(out, a)
		}
	}
	return out
}

func startNames(t *testing.T) (*names, *net.Resolver) {
	t.Helper()
	n := &names{answers: map[string][][]netip.Addr{}, asked: map[string]int{}}
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply, err := n.reply(buf[:size]); err == nil {
				_, _ = conn.WriteTo(reply, from)
			}
		}
	}()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}
	return n, &net.Resolver{PreferGo: true, Dial: dial}
}

func (n *names) reply(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	n.mu.Lock()
	_, known := n.answers[strings.ToLower(q.Name.String())]
	n.mu.Unlock()
	if !known {
		m.RCode = dnsmessage.RCodeNameError
	}
	for _, a := range n.answer(q) {
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 0}
		var body dnsmessage.ResourceBody = &dnsmessage.AResource{A: [4]byte(a.AsSlice()[:4])}
		if a.Is6() {
			body = &dnsmessage.AAAAResource{AAAA: a.As16()}
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: body})
	}
	return m.Pack()
}
