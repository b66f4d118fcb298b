package bus

import (
	"slices"
	"testing"
)

// FuzzInstances: whatever stands in Redis for an account, it is read without
// panic, each instance once.
func FuzzInstances(f *testing.F) {
	f.Add(encodeInstances([]Instance{{1, 7, 0}, {1, 8, 3}}))
	for _, seed := range []string{"", ",", "1:1,1:2", "4294967296:1", "1:256", "-1:0", "1", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list := mergeInstances(nil, 5, s)
		for i, d := range list {
			if d.UID != 5 || slices.ContainsFunc(list[:i], func(o Instance) bool { return o.Inst == d.Inst }) {
				t.Fatalf("%q: %v", s, list)
			}
		}
		if back := mergeInstances(nil, 5, encodeInstances(list)); !slices.Equal(back, list) {
			t.Fatalf("%q: %v, then %v", s, list, back)
		}
	})
}
