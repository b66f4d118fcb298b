package conversation

import (
	"context"
	"database/sql"
	"errors"

	"imserver/internal/command"
)

type topRequest struct {
	From_Account      string
	OperationType     int // 1 pin, 2 unpin
	RecentContactItem []contact
}

// top is recentcontact.top (protocol 02 §14.3). The conversation need not exist.
func (s *Service) top(ctx context.Context, call *command.Call, req *topRequest) (command.Empty, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return command.Empty{}, err
	}
	if req.OperationType != 1 && req.OperationType != 2 || len(req.RecentContactItem) == 0 || len(req.RecentContactItem) > maxPerRequest {
		return command.Empty{}, command.Err(codeParameter, "OperationType must be 1 or 2, with 1 to 100 conversations")
	}
	list, err := keys(req.RecentContactItem)
	if err != nil {
		return command.Empty{}, err
	}
	missing, err := s.unknown(ctx, call, list)
	if err != nil {
		return command.Empty{}, err
	}
	if len(missing) > 0 {
		return command.Empty{}, command.Err(codeAccount, "the account does not exist")
	}
	pin := req.OperationType == 1
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		for _, c := range list {
			st := k.state(c)
			if !pin {
				st.pinnedAt = 0
			} else if st.pinnedAt == 0 {
				st.pinnedAt = s.now().Unix()
			}
		}
		if n := k.count(func(st *state) bool { return st.pinnedAt != 0 }); pin && n > maxPinned {
			return command.Errf(codePinned, "more than %d pinned conversations", maxPinned)
		}
		return save(ctx, tx, who.uid, k, list)
	})
	if err != nil {
		return command.Empty{}, err
	}
	kind := pushPin
	if !pin {
		kind = pushUnpin
	}
	s.tell(who, kind, fields{"RecentContactTopItem": contactList{pushContacts(list)}})
	return command.Empty{}, nil
}

func (k *keeping) count(which func(*state) bool) (n int) {
	for _, st := range k.states {
		if which(st) {
			n++
		}
	}
	return n
}

// What a mark item changes (protocol 02 §14.4, 06 §5.5).
const (
	optMarks = 1 << iota
	optCustom
)

type markItem struct {
	OptType     int // 1 marks, 2 custom data, 3 both
	ContactItem contact
	SetMark     []int
	ClearMark   []int
	CustomMark  string
}

type markRequest struct {
	From_Account string
	MarkItem     []markItem
}

type markResult struct {
	ContactItem contact
	OptType     int
	ResultCode  int
	ResultInfo  string
}

type markAnswer struct {
	ResultItem []markResult
}

type markPush struct {
	RecentContactItem pushContact
	OptType           int
	StandardMark      string
	CustomMark        string
}

// mark is recentcontact.mark_contact (protocol 02 §14.4).
func (s *Service) mark(ctx context.Context, call *command.Call, req *markRequest) (*markAnswer, error) {
	who, err := s.owner(ctx, call, req.From_Account)
	if err != nil {
		return nil, err
	}
	if len(req.MarkItem) == 0 || len(req.MarkItem) > maxPerRequest {
		return nil, command.Errf(codeMarkCount, "MarkItem must have 1 to %d conversations", maxPerRequest)
	}
	list := make([]key, len(req.MarkItem))
	for i := range req.MarkItem {
		if list[i], err = req.MarkItem[i].check(); err != nil {
			return nil, err
		}
	}
	missing, err := s.unknown(ctx, call, list)
	if err != nil {
		return nil, err
	}
	var ans *markAnswer
	var pushes []markPush
	err = s.change(ctx, who.uid, func(tx *sql.Tx, k *keeping) error {
		ans, pushes = &markAnswer{}, nil
		var changed []key
		for i, item := range req.MarkItem {
			r := markResult{ContactItem: list[i].contact(), OptType: item.OptType}
			if missing[list[i]] {
				r.ResultCode, r.ResultInfo = codeAccount, "the account does not exist"
			} else {
				st := k.state(list[i])
				item.apply(st)
				changed = append(changed, list[i])
				pushes = append(pushes, markPush{list[i].push(), item.OptType, st.standard(), st.custom})
			}
			ans.ResultItem = append(ans.ResultItem, r)
		}
		if n := k.count(func(st *state) bool { return st.marks != 0 || st.custom != "" }); n > maxMarked {
			return command.Errf(codeMarks, "more than %d marked conversations", maxMarked)
		}
		return save(ctx, tx, who.uid, k, changed)
	})
	if err != nil {
		return nil, err
	}
	if len(pushes) > 0 {
		s.tell(who, pushMark, fields{"RecentContactMarkContact": fields{"RecentContactMarkContactItem": pushes}})
	}
	return ans, nil
}

var errBit = errors.New("out of range")

func (item *markItem) check() (key, error) {
	if item.OptType&^(optMarks|optCustom) != 0 || item.OptType == 0 {
		return key{}, command.Err(codeParameter, "OptType must be 1, 2 or 3")
	}
	if len(item.CustomMark) > maxCustom || command.CheckTexts(item.CustomMark) != nil {
		return key{}, command.Errf(codeParameter, "CustomMark is longer than %d bytes", maxCustom)
	}
	if _, err := bits(item.SetMark); err != nil {
		return key{}, command.Err(codeParameter, "a mark must be 0 to 63")
	}
	if _, err := bits(item.ClearMark); err != nil {
		return key{}, command.Err(codeParameter, "a mark must be 0 to 63")
	}
	return item.ContactItem.key()
}

func (item *markItem) apply(st *state) {
	if item.OptType&optMarks != 0 {
		set, _ := bits(item.SetMark) // checked
		unset, _ := bits(item.ClearMark)
		st.marks = st.marks&^unset | set
	}
	if item.OptType&optCustom != 0 {
		st.custom = item.CustomMark
	}
}

func bits(list []int) (mask int64, err error) {
	for _, n := range list {
		if n < 0 || n > 63 {
			return 0, errBit
		}
		mask |= 1 << n
	}
	return mask, nil
}
