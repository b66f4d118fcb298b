package main

import (
	"context"
	"errors"
	"testing"
)

// Ensure that housekeeping goes on until nothing is left, step by step, and
// ends with an error or the context.
func TestInSteps(t *testing.T) {
	left, calls := 2*sweepStep+3, 0
	sweep := func(_ context.Context, limit int) (int, error) {
		calls++
		n := min(left, limit)
		left -= n
		return n, nil
	}
	if err := inSteps(t.Context(), sweep); err != nil || left != 0 || calls != 3 {
		t.Fatalf("%d rows are left after %d steps, %v", left, calls, err)
	}
	broken := errors.New("broken")
	if err := inSteps(t.Context(), func(context.Context, int) (int, error) { return sweepStep, broken }); !errors.Is(err, broken) {
		t.Fatalf("%v, want the error of the step", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := inSteps(ctx, func(_ context.Context, limit int) (int, error) { cancel(); return limit, nil })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want the context's end", err)
	}
}
