package grouplog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"

	"imserver/internal/command"
	"imserver/internal/group"
)

// Who may speak is looked at twice. What is known on this node refuses most of
// those who may not, without a query; but a kick or a mute on another node a
// moment ago may not be known here. So the statement that appends looks again,
// in its own transaction: in the log nothing of a member stands behind the tip
// that tells of the kick, whatever node it was sent to.

// speaks is the condition, for both engines, under which the sender of a
// message may speak in the log now; hub, log, sender and now are SQL. It is an
// index lookup in each of four tables.
func speaks(hub, log, sender, now string) string {
	return `(SELECT 1 FROM group_members m JOIN groups h ON h.gid = m.gid JOIN groups g ON g.gid = ` + log + `
		LEFT JOIN topic_members o ON o.tid = g.gid AND o.uid = m.uid
		WHERE m.gid = ` + hub + ` AND m.uid = ` + sender + ` AND m.muted_until <= ` + now + ` AND COALESCE(o.muted_until, 0) <= ` + now + `
			AND (m.role >= ` + strconv.Itoa(int(group.SpeaksMuted)) + ` OR h.mute_all + g.mute_all = 0) LIMIT 1) IS NOT NULL`
}

// maySend refuses those who are no members or muted, and messages to a
// community that has topics (protocol 03 §11, §12.1), by what is known here.
// What refuses is looked at again in the record: somebody may just have come
// in, or have been given the word, on another node.
func (s *Service) maySend(ctx context.Context, d *sending) error {
	if d.Info.Kind == group.Community && d.Info.SupportTopic {
		return command.Err(group.CodeNoPermission, "messages go to the topics of this community")
	}
	m, err := s.Groups.Member(ctx, d.home.GID, d.sender.UID)
	if err == nil {
		d.card = m.NameCard
		known := standing{role: m.Role, mutedUntil: m.MutedUntil, muteAll: d.home.MuteAll || d.Info.MuteAll}
		if known.refusal(s.Now().Unix()) == nil {
			return nil
		}
	} else if command.CodeOf(err) == command.CodeInternal {
		return err
	}
	return s.refusal(ctx, d)
}

// standing is what decides whether a member may speak.
type standing struct {
	role       group.Role
	mutedUntil int64 // unix s
	topicMuted int64 // unix s; muted in this topic alone
	muteAll    bool
}

func (st standing) refusal(now int64) error {
	switch {
	case st.role == group.Nobody:
		return errNotMember
	case st.mutedUntil > now:
		return command.Err(codeMuted, "the sender is muted in the group")
	case st.topicMuted > now:
		return command.Err(codeMuted, "the sender is muted in the topic")
	case st.muteAll && st.role < group.SpeaksMuted:
		return command.Err(codeMuted, "all members are muted")
	}
	return nil
}

// refusal asks the record whether the sender may speak now; nil if so.
func (s *Service) refusal(ctx context.Context, d *sending) error {
	var st standing
	var muted int
	err := s.DB.Read.QueryRowContext(ctx, `SELECT COALESCE(m.role, 0), COALESCE(m.muted_until, 0), COALESCE(m.name_card, ''), h.mute_all + g.mute_all,
		COALESCE(o.muted_until, 0) FROM groups g JOIN groups h ON h.gid = $2
		LEFT JOIN group_members m ON m.gid = h.gid AND m.uid = $3 LEFT JOIN topic_members o ON o.tid = g.gid AND o.uid = $3
		WHERE g.gid = $1`, d.GID, d.HubID(), d.sender.UID).Scan(&st.role, &st.mutedUntil, &d.card, &muted, &st.topicMuted)
	if errors.Is(err, sql.ErrNoRows) {
		return errNoGroup
	}
	if err != nil {
		return fmt.Errorf("grouplog: standing: %w", err)
	}
	st.muteAll = muted > 0
	return st.refusal(s.Now().Unix())
}
