package api

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Diagnostics serves /metrics (Prometheus), /memory and /debug/pprof/. It asks
// for no token: serve it on a local address only.
func Diagnostics(deps Deps) http.Handler {
	mux := http.NewServeMux()
	if deps.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(deps.Metrics.registry, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	}
	now := deps.Now
	if now == nil {
		now = time.Now
	}
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(readMemory(now()))
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// memory has the fields of the /memory answer of the service that this one
// replaces. Sizes are in MiB.
type memory struct {
	AllocMB       float64   `json:"alloc_mb"`
	TotalAllocMB  float64   `json:"total_alloc_mb"`
	SysMB         float64   `json:"sys_mb"`
	NumGC         uint32    `json:"num_gc"`
	GCCPUFraction float64   `json:"gc_cpu_fraction"`
	HeapAllocMB   float64   `json:"heap_alloc_mb"`
	HeapSysMB     float64   `json:"heap_sys_mb"`
	HeapIdleMB    float64   `json:"heap_idle_mb"`
	HeapInuseMB   float64   `json:"heap_inuse_mb"`
	NumGoroutines int       `json:"num_goroutines"`
	Timestamp     time.Time `json:"timestamp"`
}

func readMemory(now time.Time) memory {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	mib := func(n uint64) float64 { return float64(n) / (1 << 20) }
	return memory{
		AllocMB: mib(s.Alloc), TotalAllocMB: mib(s.TotalAlloc), SysMB: mib(s.Sys), NumGC: s.NumGC, GCCPUFraction: s.GCCPUFraction,
		HeapAllocMB: mib(s.HeapAlloc), HeapSysMB: mib(s.HeapSys), HeapIdleMB: mib(s.HeapIdle), HeapInuseMB: mib(s.HeapInuse),
		NumGoroutines: runtime.NumGoroutine(), Timestamp: now.UTC(),
	}
}
