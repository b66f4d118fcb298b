package conversation

import (
	"context"
	"database/sql"
	"fmt"

	"imserver/internal/command"
)

type removeRequest struct {
	From_Account string
	ContactItem  []contact
	ClearRamble  int
}

type removeResult struct {
	Type       int
	To_Account string `json:",omitempty"`
	ToGroupid  string `json:",omitempty"` // the protocol's spelling in this command
	ResultCode int
	ResultInfo string
}

type removeAnswer struct {
	ResultItem []removeResult
}

// batchDelete is recentcontact.batch_delete (protocol 02 §14.2).
func (s *Service) batchDelete(ctx context.Context, call *command.Call, req *removeRequest) (*removeAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if len(req.ContactItem) == 0 || len(req.ContactItem) > maxPerRequest {
		return nil, command.Errf(codeParameter, "ContactItem must have 1 to %d conversations", maxPerRequest)
	}
	list, err := keys(req.ContactItem)
	if err != nil {
		return nil, err
	}
	if err := s.remove(ctx, call, who, list, req.ClearRamble == 1); err != nil {
		return nil, err
	}
	ans := &removeAnswer{ResultItem: make([]removeResult, 0, len(list))}
	for _, k := range list {
		r := removeResult{Type: k.kind}
		if k.kind == C2C {
			r.To_Account = k.target
		} else {
			r.ToGroupid = k.target
		}
		ans.ResultItem = append(ans.ResultItem, r)
	}
	return ans, nil
}

type adminDeleteRequest struct {
	From_Account string
	contact
	ClearRamble int
}

type errorDisplay struct {
	ErrorDisplay string
}

// adminDelete is recentcontact.delete (protocol 06 §5.5).
func (s *Service) adminDelete(ctx context.Context, call *command.Call, req *adminDeleteRequest) (errorDisplay, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return errorDisplay{}, err
	}
	k, err := req.key()
	if err != nil {
		return errorDisplay{}, err
	}
	return errorDisplay{}, s.remove(ctx, call, who, []key{k}, req.ClearRamble == 1)
}

// remove takes conversations from the list, with their pins, marks and places
// in groups: what comes next in them is a conversation begun anew.
func (s *Service) remove(ctx context.Context, call *command.Call, who owner, list []key, clear bool) error {
	for _, src := range s.sources {
		if ids := targetsOf(list, src.Kind()); len(ids) > 0 {
			if err := src.Remove(ctx, call, who.uid, ids, clear); err != nil {
				return fmt.Errorf("conversation: remove: %w", err)
			}
		}
	}
	// A change like the others: a mark being set now must not bring the pin back.
	err := s.change(ctx, who.uid, func(tx *sql.Tx, _ *keeping) error {
		if err := eraseRows(ctx, tx, "conversation_states", who.uid, list); err != nil {
			return err
		}
		return eraseRows(ctx, tx, "conversation_group_items", who.uid, list)
	})
	if err != nil {
		return err
	}
	if call.App.SyncConversationDelete {
		s.tell(who, pushDelete, fields{"RecentContactDeleteItem": contactList{pushContacts(list)}})
	}
	return nil
}
