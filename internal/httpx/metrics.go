package httpx

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests. Every label has few values: the registered patterns, six methods, five classes of status.
type metrics struct {
	registry *prometheus.Registry
	inFlight prometheus.Gauge
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	known    sync.Map // series to *routed: finding them by labels hashes and locks
}

// series is what tells the series of requests apart; all three are of few values.
type series struct {
	route, method string
	class         int // the status's first digit
}

type routed struct {
	requests prometheus.Counter
	seconds  prometheus.Observer
}

func (m *metrics) of(k series) *routed {
	if r, ok := m.known.Load(k); ok {
		return r.(*routed) //nolint:forcetypeassert // nothing else is stored
	}
	r := &routed{m.requests.WithLabelValues(k.route, k.method, strconv.Itoa(k.class)+"xx"), m.seconds.WithLabelValues(k.route)}
	m.known.Store(k, r)
	return r
}

func newMetrics(more []prometheus.Collector) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "cdsa_http_requests_in_flight", Help: "Requests being served, open websockets and streams not told apart."}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cdsa_http_requests_total", Help: "Requests served."}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cdsa_http_request_seconds", Help: "Time to serve a request; websockets and streams left out.", Buckets: []float64{.001, .005, .02, .1, .5, 2, 10},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.inFlight, m.requests, m.seconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.registry.MustRegister(more...)
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry, DisableCompression: true, MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

func (m *metrics) observe(x *response, r *http.Request, took time.Duration) {
	m.inFlight.Dec()
	route := x.route
	if route == "" {
		route = "none"
	}
	in := m.of(series{route, methodLabel(r.Method), x.status / 100})
	in.requests.Inc()
	if !x.hijacked && !strings.HasPrefix(x.Header().Get("Content-Type"), "text/event-stream") {
		in.seconds.Observe(took.Seconds())
	}
}

func methodLabel(s string) string {
	switch s {
	case http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions, http.MethodPut:
		return s
	}
	return "other"
}
