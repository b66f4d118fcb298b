package annotation

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"imserver/internal/command"
	"imserver/internal/store"
)

// Summary is the state of one kind of reaction on a message.
type Summary struct {
	Reaction string
	Count    int     // users; 0 after the last one took it back
	UIDs     []int64 // the users, earliest first; how many was up to the caller
	Mine     bool    // the asking user is among all of them
}

// State is a Summary as answers tell it (protocol 02 §16).
type State struct {
	Reaction         string
	Count            int      // users, all of them
	Reaction_Account []string // the first of them, earliest first
	ReactedByMe      int      // 1: the asking user is one of them all
}

// State is the summary as answers tell it; users are the names of its UIDs.
func (s Summary) State(users []string) State {
	st := State{Reaction: s.Reaction, Count: s.Count, Reaction_Account: users}
	if s.Mine {
		st.ReactedByMe = 1
	}
	return st
}

// ReactorsAnswer is a page of the users of one reaction.
type ReactorsAnswer struct {
	Reaction_Account []string
	NextSeq          int64 // where the next page starts; 0: there is none
}

// previewUsers is how many users a pushed summary names.
const previewUsers = 10

// fault marks a storage error; refusals pass.
func fault(what string, err error) error {
	var refusal *command.Error
	if err == nil || errors.As(err, &refusal) {
		return err
	}
	return fmt.Errorf("annotation: %s: %w", what, err)
}

func checkReaction(reaction string) error {
	if reaction == "" || len(reaction) > MaxReaction || command.CheckTexts(reaction) != nil {
		return command.Errf(command.CodeBadPacket, "Reaction must have 1 to %d bytes", MaxReaction)
	}
	return nil
}

// React adds the user's reaction. Errors: 20001, 23003, 23005, 23006, 23007.
// It returns the reaction's new state with all its users.
func (s *Store) React(ctx context.Context, r Ref, reaction string, uid int64) (Summary, error) {
	return s.updateReaction(ctx, r, reaction, func(tx *sql.Tx, h *head, users []int64) ([]int64, error) {
		for _, u := range users {
			if u == uid {
				return nil, command.Err(CodeReacted, "the user has already reacted this way")
			}
		}
		if len(users) >= MaxReactors {
			return nil, command.Errf(CodeTooManyUsers, "more than %d users with one reaction", MaxReactors)
		}
		if len(users) == 0 {
			var kinds int
			if err := tx.QueryRowContext(ctx, `SELECT count(DISTINCT reaction) FROM message_reactions WHERE a = $1 AND b = $2 AND seq = $3`,
				r.A, r.B, r.Seq).Scan(&kinds); err != nil {
				return nil, err
			}
			if kinds >= MaxKinds {
				return nil, command.Errf(CodeTooManyKinds, "more than %d kinds of reactions on a message", MaxKinds)
			}
		}
		// Places need only grow; they share the counter's clock, not its numbers.
		_, err := tx.ExecContext(ctx, `INSERT INTO message_reactions (a, b, seq, reaction, uid, place) VALUES ($1, $2, $3, $4, $5,
			(SELECT COALESCE(max(place), 0) + 1 FROM message_reactions WHERE a = $1 AND b = $2 AND seq = $3 AND reaction = $4))`,
			r.A, r.B, r.Seq, reaction, uid)
		return append(users, uid), err
	})
}

// Unreact takes the user's reaction back. Errors: 20001, 23003, 23008, 23009.
func (s *Store) Unreact(ctx context.Context, r Ref, reaction string, uid int64) (Summary, error) {
	return s.updateReaction(ctx, r, reaction, func(tx *sql.Tx, h *head, users []int64) ([]int64, error) {
		if len(users) == 0 {
			return nil, command.Err(CodeNoReaction, "nobody has reacted this way")
		}
		left := make([]int64, 0, len(users))
		for _, u := range users {
			if u != uid {
				left = append(left, u)
			}
		}
		if len(left) == len(users) {
			return nil, command.Err(CodeNotReactor, "the user has not reacted this way")
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM message_reactions WHERE a = $1 AND b = $2 AND seq = $3 AND reaction = $4 AND uid = $5`,
			r.A, r.B, r.Seq, reaction, uid)
		return left, err
	})
}

// updateReaction runs a change of one reaction of a locked message.
func (s *Store) updateReaction(ctx context.Context, r Ref, reaction string, fn func(*sql.Tx, *head, []int64) ([]int64, error)) (sum Summary, err error) {
	if err := checkReaction(reaction); err != nil {
		return sum, err
	}
	err = s.db.Tx(ctx, func(tx *sql.Tx) error {
		h, err := s.lock(ctx, tx, r)
		if err != nil {
			return err
		}
		if err := h.admit(s.now(), 1); err != nil {
			return err
		}
		users, err := store.Collect(ctx, tx, func(rows *sql.Rows, u *int64) error { return rows.Scan(u) },
			`SELECT uid FROM message_reactions WHERE a = $1 AND b = $2 AND seq = $3 AND reaction = $4 ORDER BY place`, r.A, r.B, r.Seq, reaction)
		if err != nil {
			return err
		}
		if users, err = fn(tx, &h, users); err != nil {
			return err
		}
		sum = Summary{Reaction: reaction, Count: len(users), UIDs: users}
		return s.save(ctx, tx, r, h)
	})
	return sum, fault("react", err)
}

// Statistics returns the reactions of messages, each with its first count
// users, and whether me is among them; kinds in the order of their first user.
// Two queries whatever the number of messages.
func (s *Store) Statistics(ctx context.Context, refs []Ref, count int, me int64) (map[Ref][]Summary, error) {
	out := make(map[Ref][]Summary, len(refs))
	if len(refs) == 0 {
		return out, nil
	}
	if len(refs) > MaxMessages {
		return nil, command.Errf(command.CodeBadPacket, "more than %d messages", MaxMessages)
	}
	type row struct {
		ref      Ref
		reaction string
		uid      int64
	}
	keys, args := tuples(refs)
	rows, err := store.Collect(ctx, s.db.Read, func(rows *sql.Rows, v *row) error {
		return rows.Scan(&v.ref.A, &v.ref.B, &v.ref.Seq, &v.reaction, &v.uid)
	}, `SELECT a, b, seq, reaction, uid FROM message_reactions WHERE (a, b, seq) IN (VALUES `+keys+`) ORDER BY a, b, seq, reaction, place`, args...)
	if err != nil {
		return nil, fault("reactions", err)
	}
	for _, v := range rows {
		list := out[v.ref]
		if n := len(list); n == 0 || list[n-1].Reaction != v.reaction {
			list = append(list, Summary{Reaction: v.reaction, UIDs: []int64{}})
		}
		last := &list[len(list)-1]
		last.Count++
		last.Mine = last.Mine || v.uid == me
		if len(last.UIDs) < count {
			last.UIDs = append(last.UIDs, v.uid)
		}
		out[v.ref] = list
	}
	return out, nil
}

// Reactors returns up to count users of a reaction after a place (0 = from the
// first), and the place to go on from; 0 = that was all.
func (s *Store) Reactors(ctx context.Context, r Ref, reaction string, after int64, count int) (uids []int64, next int64, err error) {
	type row struct{ uid, place int64 }
	if err := checkReaction(reaction); err != nil {
		return nil, 0, err
	}
	if count <= 0 || count > MaxReactors {
		count = MaxReactors
	}
	rows, err := store.Collect(ctx, s.db.Read, func(rows *sql.Rows, v *row) error { return rows.Scan(&v.uid, &v.place) },
		`SELECT uid, place FROM message_reactions WHERE a = $1 AND b = $2 AND seq = $3 AND reaction = $4 AND place > $5 ORDER BY place LIMIT $6`,
		r.A, r.B, r.Seq, reaction, after, count+1)
	if err != nil {
		return nil, 0, fault("reactors", err)
	}
	if len(rows) > count {
		rows = rows[:count]
		next = rows[count-1].place
	}
	uids = make([]int64, 0, len(rows))
	for _, v := range rows {
		uids = append(uids, v.uid)
	}
	return uids, next, nil
}
