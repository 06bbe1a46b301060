package httprequest

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"cdsa.dev/cdsa/internal/errs"
	"cdsa.dev/cdsa/internal/tool"
)

func TestPublic(t *testing.T) {
	for family, c := range map[string]struct{ public, refused []string }{
		"IPv4": {
			[]string{"8.8.8.8", "1.1.1.1", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
				"192.169.0.0", "169.253.255.255", "169.255.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "168.63.129.15"},
			[]string{"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254",
				"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.9",
				"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"},
		},
		"IPv6": {
			[]string{"2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2400:cb00::1", "2003::1"},
			[]string{"::", "::1", "::2", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "fc00::1", "fd00:ec2::254", "fdff::1", "ff02::1", "ff0e::1", "100::1", "5f00::1",
				"2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "2620:4f:8000::1", "4000::1", "2606:4700::1%eth0"},
		},
		"IPv4MappedAndCompatible": {
			[]string{"::ffff:8.8.8.8"},
			[]string{"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1", "::ffff:0.0.0.0", "::ffff:192.168.1.1%eth0", "::127.0.0.1", "::8.8.8.8",
				"::ffff:0:127.0.0.1"},
		},
		"NAT64":  {nil, []string{"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::a00:1"}},
		"6to4":   {nil, []string{"2002:7f00:1::1", "2002:a00:1::1", "2002:c0a8:101::1", "2002:a9fe:a9fe::1", "2002:808:808::1"}},
		"Teredo": {nil, []string{"2001::1", "2001:0:a9fe:a9fe::80ff:fffe", "2001:0:4136:e378:8000:63bf:3fff:fdd2"}},
		"ISATAP": {[]string{"2606:4700::5efe:808:808"}, []string{"2606:4700::5efe:7f00:1", "2606:4700::200:5efe:a00:1", "2606:4700::5efe:a9fe:a9fe", "fe80::5efe:808:808"}},
	} {
		t.Run(family, func(t *testing.T) {
			for _, a := range c.public {
				require.True(t, public(netip.MustParseAddr(a)), a)
			}
			for _, a := range c.refused {
				require.False(t, public(netip.MustParseAddr(a)), a)
			}
		})
	}
	require.False(t, public(netip.Addr{}))
}

func TestGuard_Dialable(t *testing.T) {
	g := &guard{trusted: map[string]bool{"dev.test:8080": true, "127.0.0.1:9000": true}}
	for host, addrs := range map[string]map[string]bool{
		"dev.test:8080": {"127.0.0.1:8080": true, "[::1]:8080": true, "10.1.2.3:8080": true, "[fd00::1]:8080": true, "[::ffff:10.0.0.1]:8080": true, "8.8.8.8:8080": true,
			"169.254.169.254:8080": false, "[fe80::1]:8080": false, "0.0.0.0:8080": false, "[::]:8080": false, "224.0.0.1:8080": false, "100.64.0.1:8080": false, "[fd00::1%eth0]:8080": false},
		"127.0.0.1:9000": {"127.0.0.1:9000": true},
		"dev.test:8081":  {"127.0.0.1:8081": false, "8.8.8.8:8081": true},
		"other.test:443": {"127.0.0.1:443": false, "[::1]:443": false, "8.8.8.8:443": true},
	} {
		for a, want := range addrs {
			require.Equal(t, want, g.dialable(host, netip.MustParseAddrPort(a)), "%s at %s", host, a)
		}
	}
}

func TestGuard_Target(t *testing.T) {
	g := &guard{trusted: map[string]bool{"127.0.0.1:8080": true, "dev.test:8080": true}}
	for raw, want := range map[string]string{
		"https://example.org":                          "",
		"https://example.org:443/a?b=c#d":              "",
		"https://8.8.8.8/":                             "",
		"https://[2606:4700:4700::1111]/":              "",
		"http://127.0.0.1:8080/":                       "",
		"http://dev.test:8080/":                        "",
		"http://DEV.test.:8080/":                       "",
		"http://[::ffff:127.0.0.1]:8080/":              "",
		"http://example.org/":                          "Only https",
		"http://dev.test:8081/":                        "Only https",
		"http://127.0.0.1:8081/":                       "public internet",
		"https://example.org:8443/":                    "standard port",
		"https://example.org:80/":                      "standard port",
		"https://example.org:0/":                       "not a port",
		"https://example.org:/":                        "port of the URL is missing",
		"https://example.org:99999/":                   "not a port",
		"https://user@example.org/":                    "user name",
		"https://user:pass@example.org/":               "user name",
		"https://@example.org/":                        "user name",
		"ftp://example.org/":                           "begin with https",
		"file:///etc/passwd":                           "absolute",
		"gopher://example.org:70/":                     "begin with https",
		"mailto:a@example.org":                         "absolute",
		"//example.org/":                               "begin with https",
		"/etc/passwd":                                  "absolute",
		"":                                             "absolute",
		"https://":                                     "absolute",
		"https://exämple.org/":                         "name in ASCII",
		"https://ex%41mple.org/":                       "name in ASCII",
		"https://exa%6D%70le.org%2f@x/":                "user name",
		"https://.example.org/":                        "name in ASCII",
		"https://127.0.0.1/":                           "public internet",
		"https://[::1]/":                               "public internet",
		"https://[::ffff:10.0.0.1]/":                   "public internet",
		"https://[fe80::1%25eth0]/":                    "name in ASCII",
		"https://169.254.169.254/latest":               "public internet",
		"https://[64:ff9b::a9fe:a9fe]/":                "public internet",
		"https://[2002:7f00:1::]/":                     "public internet",
		"https://0.0.0.0/":                             "public internet",
		"https://x.org/" + strings.Repeat("a", maxURL): "at most",
	} {
		u, err := url.Parse(raw)
		if err != nil {
			require.NotEmpty(t, want, raw)
			continue
		}
		err = g.target(u)
		if want == "" {
			require.NoError(t, err, raw)
			continue
		}
		require.ErrorContains(t, err, want, raw)
		_, ok := tool.AsError(err)
		require.True(t, ok)
	}
}

func TestHeaders(t *testing.T) {
	h, err := headers(input{Headers: map[string]string{"accept": "text/html", "X-Thing": "a\tb"}, Body: `{"a":1}`})
	require.NoError(t, err)
	require.Equal(t, map[string][]string{"Accept": {"text/html"}, "X-Thing": {"a\tb"}, "User-Agent": {"cdsa-http-request/1"}, "Content-Type": {"application/json"}}, map[string][]string(h))
	h, err = headers(input{Headers: map[string]string{"User-Agent": "me"}, Body: "plain"})
	require.NoError(t, err)
	require.Equal(t, "text/plain; charset=utf-8", h.Get("Content-Type"))
	require.Equal(t, "me", h.Get("User-Agent"))

	for name, want := range map[string]string{
		"Authorization": "credentials", "COOKIE": "credentials", "X-Api-Key": "credentials", "Proxy-Authorization": "connection", "Host": "connection", "Connection": "connection",
		"Transfer-Encoding": "connection", "content-length": "connection", "Accept-Encoding": "connection", "X-Forwarded-For": "another one", "Forwarded": "another one",
		"X-HTTP-Method-Override": "another one", "Metadata-Flavor": "another one", "Sec-Fetch-Site": "another one", "": "must consist", "a b": "must consist", "a:b": "must consist",
		"a\r\nb": "must consist", "é": "must consist", strings.Repeat("a", 200): "must consist",
	} {
		_, err := headers(input{Headers: map[string]string{name: "canary-5d1"}})
		require.ErrorContains(t, err, want, name)
		require.NotContains(t, err.Error(), "canary")
	}
	for _, value := range []string{"a\r\nX: y", "a\nb", "a\x00b", "é", "\x7f"} {
		_, err := headers(input{Headers: map[string]string{"X-Thing": value}})
		require.ErrorContains(t, err, "line breaks")
	}
	_, err = headers(input{Headers: map[string]string{"X-Thing": "a", "x-thing": "b"}})
	require.ErrorContains(t, err, "twice")
	_, err = headers(input{Headers: map[string]string{"a": strings.Repeat("x", 5000), "b": strings.Repeat("x", 5000)}})
	require.ErrorContains(t, err, "larger")
}

func FuzzTarget(f *testing.F) {
	for _, s := range []string{"https://example.org", "https://a@b", "https://[::1]", "https://127.1", "https://0x7f.1", "http://[::ffff:1.2.3.4%25x]:80"} {
		f.Add(s)
	}
	g := &guard{trusted: map[string]bool{}}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := url.Parse(raw)
		if err != nil || g.target(u) != nil {
			return
		}
		if u.Scheme != "https" || u.User != nil || !plainHost(u.Hostname()) || u.Port() != "" && u.Port() != "443" && strings.TrimLeft(u.Port(), "0") != "443" {
			t.Fatalf("%q passed", raw)
		}
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && !public(a) {
			t.Fatalf("%q passed", raw)
		}
	})
}

// What is refused whatever a name leads to is refused before anyone is asked; nothing is looked up.
func TestTool_Check(t *testing.T) {
	b, err := New(Config{})
	require.NoError(t, err)
	check := func(params map[string]any) map[string]string {
		err := b.Check(params)
		if err == nil {
			return nil
		}
		e, ok := errs.As(err)
		require.True(t, ok)
		require.Equal(t, errs.BadUserInput, e.Code)
		return e.Fields
	}
	for _, url := range []string{"ftp://example.org/", "javascript:1", "//example.org", "/path", "http://127.1/", "https://127.1/", "https://2130706433/", "https://0x7f.1/",
		"https://0x7f000001./", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/", "https://example.org:444/", "http://example.org/", "https://a b/",
		"https://u:p@example.org/", "https://example.org:/"} {
		require.Contains(t, check(map[string]any{"url": url}), "parameters.url", url)
	}
	for name, value := range map[string]string{"Host": "x", "Authorization": "x", "X-A": "a\r\nb: c", "X-B": "a\nb", "Bad Name": "x", "": "x"} {
		require.Contains(t, check(map[string]any{"url": "https://example.org/", "headers": map[string]any{name: value}}), "parameters.headers", name)
	}
	require.Contains(t, check(map[string]any{"url": "https://example.org/", "body": "x"}), "parameters.body")
	require.Len(t, check(map[string]any{"url": "x", "body": "x", "headers": map[string]any{"Host": "x"}}), 3)
	for _, url := range []string{"https://example.org/", "HTTPS://Example.org:443/a?b#c", "https://nowhere.invalid/", "https://1.1.1.1/", "https://3com.com/", "https://0x.example/"} {
		require.Nil(t, check(map[string]any{"url": url, "headers": map[string]any{"Accept": "text/html"}}), url)
	}
	dev, err := New(Config{Allow: []string{"localhost:8000"}})
	require.NoError(t, err)
	require.NoError(t, dev.Check(map[string]any{"url": "http://localhost:8000/"}), "what development allows can be asked for")
}
