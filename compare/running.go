package compare

import (
	"context"
)

func (s *Sides) compareRunning(ctx context.Context, r *Report, a *Asking) {}
