package annotation_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"imserver/internal/annotation"
	"imserver/internal/command"
	"imserver/internal/store"
	"imserver/internal/store/storetest"
)

var ref = annotation.Ref{A: 7, Seq: 3}

func set(list ...annotation.Extension) *annotation.ChangeRequest {
	return &annotation.ChangeRequest{OperateType: annotation.OpSet, ExtensionList: list}
}

func mustChange(t *testing.T, s *annotation.Store, req *annotation.ChangeRequest) *annotation.ChangeAnswer {
	t.Helper()
	ans, err := s.Change(context.Background(), ref, req)
	if err != nil {
		t.Fatal(err)
	}
	return ans
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	if command.CodeOf(err) != code || !errors.As(err, new(*command.Error)) {
		t.Fatalf("error %v, want code %d", err, code)
	}
}

// Ensure that changes of keys are counted, conflicts are reported per key with
// the current state, and deleting and clearing leave what clients need.
func TestExtensions(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		s := annotation.New(db, time.Now)
		a := mustChange(t, s, set(annotation.Extension{Key: "a", Value: "1"}, annotation.Extension{Key: "b", Value: "1"}))
		if a.Seq != 2 || a.ExtensionList[1].Extension.Seq != 2 {
			t.Fatalf("first change: %+v", a)
		}
		a = mustChange(t, s, set(annotation.Extension{Key: "a", Value: "2"}, annotation.Extension{Key: "b", Value: "2", Seq: 2}))
		if r := a.ExtensionList[0]; r.ErrorCode != annotation.CodeConflict || r.Extension.Value != "1" || r.Extension.Seq != 1 {
			t.Fatalf("conflict: %+v", r)
		}
		if len(a.Applied()) != 1 || a.Seq != 3 {
			t.Fatalf("after a conflict: %+v", a)
		}
		mustChange(t, s, &annotation.ChangeRequest{OperateType: annotation.OpDelete, ExtensionList: []annotation.Extension{{Key: "a", Seq: 1}}})
		l, err := s.List(ctx, ref, 4)
		if err != nil || len(l.ExtensionList) != 1 || l.ExtensionList[0] != (annotation.Extension{Key: "a", Seq: 4}) || l.LatestSeq != 4 {
			t.Fatalf("list from 4: %+v %v", l, err)
		}
		a = mustChange(t, s, &annotation.ChangeRequest{OperateType: annotation.OpClear})
		l, err = s.List(ctx, ref, 0)
		if err != nil || len(l.ExtensionList) != 0 || l.ClearSeq != 5 || a.Seq != 5 {
			t.Fatalf("after clear: %+v %v", l, err)
		}
		for range annotation.MaxPerMinute / annotation.MaxPerCall {
			req := set()
			for i := range annotation.MaxPerCall {
				req.ExtensionList = append(req.ExtensionList, annotation.Extension{Key: fmt.Sprint(i)})
			}
			if _, err = s.Change(ctx, ref, req); err != nil {
				break
			}
		}
		wantCode(t, err, annotation.CodeTooManyChange)
	})
}

// Ensure that of concurrent writers of one key with the same knowledge one wins.
func TestConcurrentExtensions(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		s := annotation.New(db, time.Now)
		var wg sync.WaitGroup
		won := make(chan int, 8)
		for i := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				a, err := s.Change(context.Background(), ref, set(annotation.Extension{Key: "k", Value: fmt.Sprint("v", i)}))
				if err == nil && a.ExtensionList[0].ErrorCode == 0 {
					won <- i
				}
			}()
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d writers won", len(won))
		}
	})
}

// Ensure that reactions count each user once, keep order and obey the limits.
func TestReactions(t *testing.T) {
	storetest.Open(t, func(t *testing.T, db *store.DB) {
		ctx := context.Background()
		now := time.Now()
		s := annotation.New(db, func() time.Time { now = now.Add(time.Minute); return now }) // each change in a minute of its own
		for uid := int64(1); uid <= annotation.MaxReactors; uid++ {
			if sum, err := s.React(ctx, ref, "smile", uid); err != nil || sum.Count != int(uid) {
				t.Fatal(sum, err)
			}
		}
		_, err := s.React(ctx, ref, "smile", 1)
		wantCode(t, err, annotation.CodeReacted)
		_, err = s.React(ctx, ref, "smile", 999)
		wantCode(t, err, annotation.CodeTooManyUsers)
		_, err = s.Unreact(ctx, ref, "smile", 999)
		wantCode(t, err, annotation.CodeNotReactor)
		_, err = s.Unreact(ctx, ref, "frown", 1)
		wantCode(t, err, annotation.CodeNoReaction)
		if sum, err := s.Unreact(ctx, ref, "smile", 1); err != nil || sum.Count != 99 || sum.UIDs[0] != 2 {
			t.Fatal(sum, err)
		}
		stat, err := s.Statistics(ctx, []annotation.Ref{ref, {A: 7, Seq: 4}}, 3, 50)
		if err != nil || len(stat) != 1 || stat[ref][0].Count != 99 || len(stat[ref][0].UIDs) != 3 || !stat[ref][0].Mine {
			t.Fatalf("%+v %v", stat, err)
		}
		var all []int64
		for next := int64(0); ; {
			var part []int64
			if part, next, err = s.Reactors(ctx, ref, "smile", next, 40); err != nil {
				t.Fatal(err)
			}
			if all = append(all, part...); next == 0 {
				break
			}
		}
		if len(all) != 99 || all[98] != 100 {
			t.Fatal(all)
		}
		for i := range annotation.MaxKinds - 1 {
			if _, err := s.React(ctx, ref, fmt.Sprint("kind", i), 1); err != nil {
				t.Fatal(err)
			}
		}
		_, err = s.React(ctx, ref, "one more", 1)
		wantCode(t, err, annotation.CodeTooManyKinds)
		if n, err := s.Sweep(ctx, now.Unix()+1, 10); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		if stat, _ := s.Statistics(ctx, []annotation.Ref{ref}, 3, 50); len(stat) != 0 {
			t.Fatal("reactions outlived their message", stat)
		}
	})
}
