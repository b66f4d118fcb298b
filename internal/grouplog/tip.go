package grouplog

import (
	"context"
	"math/rand/v2"

	"imserver/internal/group"
)

// AppendTip implements group.Log.
func (s *Service) AppendTip(ctx context.Context, tip group.Tip) <-chan error {
	stored := make(chan error, 1)
	p, err := s.placeOf(ctx, tip.Group)
	if err != nil {
		stored <- err
		return stored
	}
	now := s.Now().Unix()
	m := &Message{Log: p.GID, Operator: tip.Operator, Random: int64(rand.Uint32()), ClientSeq: rand.Int64N(1 << 31), ClientTime: now, Priority: 2,
		Flags: FlagTip, Body: tip.Body}
	s.log.Go(uint64(m.Log), &draft{Message: m, hub: p.HubID()}, func(a *draft, err error) {
		if err == nil {
			e := s.event(p, m, m.item(p, nil, "", form{}))
			e.Not = tip.Exclude
			s.Hub.Publish(p.topic(), e)
		}
		stored <- storeError(err)
	})
	return stored
}
