package merge

import (
	"context"
	"fmt"
	"testing"
)

// historyTurns make it near certain that a write falls between the two reads that make up
// one history.
const historyTurns = 400

// A history is one moment of the document: while one author replaces a value again and
// again, it shows one live value, never none.
func TestHistoryIsOneMoment(t *testing.T) {
	t.Parallel()
	s, app := service(t, Config{})
	id := session(t, app)
	write := func(n int, seen ...string) string {
		return change(t, s, ChangeRequest{SessionID: id, UserID: "anna", Changes: []Change{set("items/FE-1/remark", fmt.Sprint(n), seen...)}}).Ops[0]
	}
	dot := write(0)
	over, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(failed)
		for {
			list, err := s.History(context.Background(), id, "items/FE-1/remark", 0, 2)
			live := 0
			for _, e := range list {
				if e.Live {
					live++
				}
			}
			if err != nil || live != 1 {
				failed <- fmt.Errorf("got %d live values (%v), want 1: %+v", live, err, list)
				return
			}
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	for n := range historyTurns {
		dot = write(n+1, dot)
	}
	close(over)
	if err := <-failed; err != nil {
		t.Error(err)
	}
}
