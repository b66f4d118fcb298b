package grouplog

import "context"

// sweepStep is how many rows of a table one round removes at most.
const sweepStep = 2000

// Sweep removes what belongs to messages older than the unix second before,
// the longest retention of all apps, a bounded number of rows a call.
func (s *Service) Sweep(ctx context.Context, before int64) error {
	for _, t := range []struct {
		table string
		keys  []string
	}{
		{"group_quiet", []string{"log", "seq", "uid"}},
		{"group_deleted", []string{"uid", "log", "seq"}},
		{"group_at", []string{"log", "seq", "uid"}},
		{"group_at_dropped", []string{"uid", "seq", "random"}},
		{"group_receipts", []string{"log", "seq", "uid"}},
	} {
		if _, err := s.DB.DeleteOld(ctx, t.table, "at", before, t.keys, sweepStep); err != nil {
			return err
		}
	}
	// A pin is younger than its message; its time is in microseconds.
	_, err := s.DB.DeleteOld(ctx, "group_pins", "at", before*1e6, []string{"log", "seq"}, sweepStep)
	return err
}
