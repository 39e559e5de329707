package api

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// latencyBuckets, in seconds, surround the promise of 300 ms at the 95th
// percentile.
var latencyBuckets = []float64{.002, .005, .01, .025, .05, .1, .2, .3, .5, 1, 2.5, 10, 60}

// Metrics counts what the API does. Make one with NewMetrics, give it to Bind
// and to Diagnostics. Safe for many goroutines.
type Metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	latency  *prometheus.HistogramVec
}

// NewMetrics returns empty metrics with a registry of their own.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "firemode_http_requests_total", Help: "Answers by route, method and status.",
		}, []string{"route", "method", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "firemode_http_request_duration_seconds", Help: "Time from the first byte of a request's head to its last handler.",
			Buckets: latencyBuckets,
		}, []string{"route", "method"}),
	}
	m.registry.MustRegister(m.requests, m.latency, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Register adds collectors of other parts of the program. It returns an error
// when a name is taken.
func (m *Metrics) Register(c prometheus.Collector) error { return m.registry.Register(c) }

// Gauge adds a value that is read when the metrics are.
func (m *Metrics) Gauge(name, help string, read func() float64) error {
	return m.registry.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// counter adds a count that is kept elsewhere and only grows.
func (m *Metrics) counter(name, help string, read func() float64) error {
	return m.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// bindGauges adds what is read when somebody looks.
func (s *service) bindGauges() error {
	if s.Metrics == nil {
		return nil
	}
	return errors.Join(
		s.Metrics.Gauge("firemode_writer_queue_jobs", "Writes of documents that wait for their commit.", func() float64 {
			return float64(s.Merge.Stats().QueuedJobs)
		}),
		s.Metrics.counter("firemode_writer_commits_total", "Transactions of the document writer.", func() float64 {
			return float64(s.Merge.Stats().Commits)
		}),
		s.Metrics.counter("firemode_writer_jobs_total", "Writes in those transactions; their ratio is the size of a batch.", func() float64 {
			return float64(s.Merge.Stats().Jobs)
		}),
		s.Metrics.Gauge("firemode_realtime_clients", "Open realtime streams.", func() float64 {
			return float64(s.app.SubscriptionsBroker().TotalClients())
		}),
		s.Metrics.Register(mirrorCollector{s.MirrorStatus}),
	)
}

// knownMethods keeps a caller from making a series per invented method.
var knownMethods = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "OPTIONS": true}

func (m *Metrics) observe(route, method string, status int, took time.Duration) {
	if !knownMethods[method] {
		method = "other"
	}
	if status == 0 {
		status = 200 // a handler that wrote nothing
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	if route == "/api/realtime" && method == "GET" {
		return // an open stream is not a slow answer
	}
	m.latency.WithLabelValues(route, method).Observe(took.Seconds())
}
