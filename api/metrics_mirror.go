package api

import (
	"firemode/pgsync"

	"github.com/prometheus/client_golang/prometheus"
)

// mirrorCollector reads the state of the mirror once per scrape.
type mirrorCollector struct{ status func() pgsync.Status }

// mirrorMetric is one number of the mirror's state.
type mirrorMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(pgsync.Status) float64
}

func mirrorGauge(name, help string, read func(pgsync.Status) float64) mirrorMetric {
	return mirrorMetric{prometheus.NewDesc("firemode_mirror_"+name, help, nil, nil), prometheus.GaugeValue, read}
}

func mirrorCounter(name, help string, read func(pgsync.Status) float64) mirrorMetric {
	return mirrorMetric{prometheus.NewDesc("firemode_mirror_"+name, help, nil, nil), prometheus.CounterValue, read}
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

var mirrorMetrics = []mirrorMetric{
	mirrorGauge("backlog_entries", "Changes that PostgreSQL does not have yet.", func(st pgsync.Status) float64 { return float64(st.BacklogEntries) }),
	mirrorGauge("lag_seconds", "Age of the oldest change that PostgreSQL does not have yet.", func(st pgsync.Status) float64 { return st.LagSeconds }),
	mirrorGauge("ready", "1 when the mirror is off, or live and not stalled.", func(st pgsync.Status) float64 { return oneIf(st.Ready()) }),
	mirrorGauge("stalled", "1 when there is a backlog, and no progress for a minute.", func(st pgsync.Status) float64 { return oneIf(st.Stalled) }),
	mirrorGauge("quarantine_rows", "Rows that PostgreSQL does not take.", func(st pgsync.Status) float64 { return float64(st.QuarantineRows) }),
	mirrorGauge("resync_tables", "Tables that are being compared row by row.", func(st pgsync.Status) float64 { return float64(st.ResyncTables) }),
	mirrorGauge("epoch", "Raised whenever another log is mirrored than before.", func(st pgsync.Status) float64 { return float64(st.Epoch) }),
	mirrorGauge("position", "Last change that PostgreSQL has.", func(st pgsync.Status) float64 { return float64(st.Position) }),
	mirrorGauge("log_bytes", "Size of the log of changes in SQLite, about.", func(st pgsync.Status) float64 { return float64(st.LogBytes) }),
	mirrorGauge("log_bytes_max", "Size above which the log's oldest images are dropped.", func(st pgsync.Status) float64 { return float64(st.LogBytesMax) }),
	mirrorCounter("applied_entries_total", "Changes carried since the start.", func(st pgsync.Status) float64 { return float64(st.AppliedEntries) }),
	mirrorCounter("batches_total", "PostgreSQL transactions that carried changes since the start.", func(st pgsync.Status) float64 { return float64(st.Batches) }),
	mirrorCounter("batch_seconds_total", "Time they took; by batches_total it is the time of one.", func(st pgsync.Status) float64 { return st.BatchSeconds }),
}

var (
	mirrorStateDesc    = prometheus.NewDesc("firemode_mirror_state", "1 for the state that the mirror is in.", []string{"state"}, nil)
	mirrorFailuresDesc = prometheus.NewDesc("firemode_mirror_failures_total", "Interruptions since the start, by kind.", []string{"kind"}, nil)
)

func (c mirrorCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range mirrorMetrics {
		ch <- m.desc
	}
	ch <- mirrorStateDesc
	ch <- mirrorFailuresDesc
}

func (c mirrorCollector) Collect(ch chan<- prometheus.Metric) {
	st := c.status()
	for _, m := range mirrorMetrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.read(st))
	}
	for _, state := range pgsync.States {
		ch <- prometheus.MustNewConstMetric(mirrorStateDesc, prometheus.GaugeValue, oneIf(state == st.State), string(state))
	}
	for kind, n := range st.FailuresBy {
		ch <- prometheus.MustNewConstMetric(mirrorFailuresDesc, prometheus.CounterValue, float64(n), kind)
	}
}
