package grouplog

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"imserver/internal/command"
	"imserver/internal/group"
)

// removeRequest is delete_group_ramble_msg_by_seq (protocol 03 §12.4).
type removeRequest struct {
	GroupId         string
	TopicId         string
	Deleter_Account string
	Seqs            []json.RawMessage // decimal strings, or numbers
}

// remove hides messages from the caller alone; the others keep them.
func (s *Service) remove(ctx context.Context, call *command.Call, req *removeRequest) (command.Empty, error) {
	none := command.Empty{}
	if len(req.Seqs) == 0 || len(req.Seqs) > maxSeqs {
		return none, command.Errf(group.CodeBadParameter, "Seqs must have 1 to %d entries", maxSeqs)
	}
	v, err := s.see(ctx, call, req.GroupId, req.TopicId)
	if err != nil {
		return none, err
	}
	query := []byte(`INSERT INTO group_deleted (uid, log, at, seq) VALUES `)
	args := []any{call.UID, v.GID, s.Now().Unix()}
	for _, raw := range req.Seqs {
		seq, err := strconv.ParseInt(strings.Trim(string(raw), `"`), 10, 64)
		if err != nil || seq <= 0 {
			return none, errBadSeq
		}
		if seq < v.first || seq > v.last {
			continue // not there for the caller anyway
		}
		if len(args) > 3 {
			query = append(query, ',')
		}
		args = append(args, seq)
		query = fmt.Appendf(query, "($1,$2,$3,$%d)", len(args))
	}
	if len(args) == 3 {
		return none, nil
	}
	query = append(query, ` ON CONFLICT (uid, log, seq) DO NOTHING`...)
	if _, err := s.DB.Write.ExecContext(ctx, string(query), args...); err != nil {
		return none, fmt.Errorf("grouplog: delete: %w", err)
	}
	return none, nil
}
