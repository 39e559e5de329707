package adminui

import (
	"time"

	"firemode/pgsync"
)

// States of the mirror as an officer needs them. The worker knows more; what it
// comes to is whether reports from PostgreSQL can be relied on.
const (
	MirrorOff     = "off"     // none is configured
	MirrorCurrent = "current" // everything committed is in PostgreSQL
	MirrorBehind  = "behind"  // rows are waiting, and are being sent
	MirrorStandby = "standby" // another server sends them
	MirrorFailing = "failing" // rows are waiting and cannot be sent now
)

// Mirror is the state of the PostgreSQL mirror. The worker's last error is left
// out: it is for operators and may name a host.
type Mirror struct {
	State          string    `json:"state"`
	BacklogEntries int64     `json:"backlog_entries"`
	LagSeconds     float64   `json:"lag_seconds"`     // age of the oldest waiting entry
	QuarantineRows int64     `json:"quarantine_rows"` // refused by PostgreSQL, kept aside
	LastApplied    time.Time `json:"last_applied,omitzero"`
}

func mirrorOf(st pgsync.Status) Mirror {
	m := Mirror{
		BacklogEntries: st.BacklogEntries, LagSeconds: st.LagSeconds,
		QuarantineRows: st.QuarantineRows, LastApplied: st.LastApplied,
	}
	switch {
	case st.State == pgsync.StateOff:
		m.State = MirrorOff
	case st.State == pgsync.StateStandby:
		m.State = MirrorStandby
	case st.Stalled:
		m.State = MirrorFailing
	case st.State == pgsync.StateLive && st.BacklogEntries == 0:
		m.State = MirrorCurrent
	case st.State == pgsync.StateLive, st.State == pgsync.StateResync:
		m.State = MirrorBehind
	default: // connecting, held, stopped, and whatever is added later
		m.State = MirrorFailing
	}
	return m
}
