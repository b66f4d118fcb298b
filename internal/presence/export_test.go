package presence

import (
	"context"
	"time"
)

// Step lets tests run what Run does, on their own clock.
func (s *Service) Step(ctx context.Context) time.Time { return s.step(ctx) }
