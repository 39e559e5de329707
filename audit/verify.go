package audit

import (
	"context"
	"fmt"

	"github.com/pocketbase/pocketbase/core"
)

// A Finding is the first entry of the log that is not what was written.
type Finding struct {
	Seq    int64  `json:"seq"`          // number of the entry, or of the missing one
	ID     string `json:"id,omitempty"` // empty when the entry is missing
	Reason string `json:"reason"`
}

// verifyPage bounds the memory of a walk.
const verifyPage = 1000

// Verify walks the log in order and returns how many entries it checked and the
// first bad one, or nil. An edited column, a changed hash, a removed entry in
// the middle and a doubled number are found. progress, which may be nil, is called
// now and then with the entries checked so far. The log may grow meanwhile.
func Verify(ctx context.Context, app core.App, progress func(checked int64)) (checked int64, bad *Finding, err error) {
	for {
		if progress != nil {
			progress(checked)
		}
		var rows []row
		err := app.DB().NewQuery("SELECT * FROM audit_log WHERE seq > {:after} ORDER BY seq LIMIT {:limit}").
			Bind(map[string]any{"after": checked, "limit": verifyPage}).WithContext(ctx).All(&rows)
		if err != nil {
			return checked, nil, fmt.Errorf("read audit log: %w", err)
		}
		for _, r := range rows {
			if r.Seq != checked+1 {
				return checked, &Finding{Seq: checked + 1, Reason: "the entry is missing"}, nil
			}
			if r.hash() != r.LeafHash {
				return checked, &Finding{Seq: r.Seq, ID: r.ID, Reason: "the entry is not what its hash was made from"}, nil
			}
			checked++
		}
		if len(rows) < verifyPage {
			return checked, nil, nil
		}
	}
}
