package group

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"imserver/internal/command"
	"imserver/internal/store"
)

type topicRequest struct {
	GroupId         string
	TopicId         string
	TopicIdList     []string
	TopicName       *string
	FaceUrl         *string
	CustomString    *string
	Notification    *string
	Introduction    *string
	ShutUpAllMember *string
	MuteAllMember   *string
	CreateTime      int64 // of an imported topic, unix s
}

func (r *topicRequest) check() error {
	texts := profileTexts{r.TopicName, r.Introduction, r.Notification, r.FaceUrl}
	if err := texts.check(); err != nil {
		return err
	}
	if r.CustomString != nil {
		return checkText("CustomString", *r.CustomString, maxCustomText)
	}
	return nil
}

type topicAnswer struct {
	TopicId string
}

// withTopics checks inside a transaction that g has topics and that the caller
// may manage them.
func withTopics(ctx context.Context, tx *sql.Tx, g *Info, act actor) error {
	role, err := acting(ctx, tx, g, act)
	if err != nil {
		return err
	}
	if g.Kind != Community || !g.SupportTopic {
		return errNotForKind
	}
	return may(g, role, ManageTopics)
}

// createTopic is create_topic; the creator learns of it by the notice too
// (protocol 03 §11.1, §11.6).
func (s *Service) createTopic(ctx context.Context, call *command.Call, req *topicRequest) (*topicAnswer, error) {
	act := actorOf(call)
	return s.addTopic(ctx, call, req, s.Now().Unix(), func(topic *Info) []notice {
		return []notice{{about: topic, body: noticeBody{ReportType: noticeTopicCreated, Operator_Account: act.id}}}
	})
}

// addTopic stores a new topic and tells of it by the notices that tell returns.
func (s *Service) addTopic(ctx context.Context, call *command.Call, req *topicRequest, created int64, tell func(topic *Info) []notice) (*topicAnswer, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if req.TopicName == nil {
		return nil, command.Err(CodeBadParameter, "TopicName is missing")
	}
	act := actorOf(call)
	var topic *Info
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := withTopics(ctx, tx, g, act); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM groups WHERE parent = $1`, g.GID).Scan(&n); err != nil {
			return fmt.Errorf("group: topics: %w", err)
		}
		if limit := call.App.Groups.TopicsPerCommunity; limit > 0 && n >= limit {
			return command.Errf(CodeBadParameter, "the community has %d topics already", n)
		}
		var err error
		if topic, err = req.topic(g, act, created); err != nil {
			return err
		}
		if err := insertGroup(ctx, tx, topic, call.UID); err != nil {
			return err
		}
		out.notices = tell(topic)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &topicAnswer{TopicId: topic.ID}, nil
}

// topic makes the topic that the request describes.
func (r *topicRequest) topic(g *Info, act actor, created int64) (*Info, error) {
	t := &Info{App: g.App, ID: r.TopicId, Kind: Topic, Parent: g.GID, CreatedAt: created, InfoTime: created, InfoSeq: 1, Owner: act.uid}
	if t.ID == "" {
		t.ID = newTopicID(g.ID)
	} else if err := checkTopicID(t.ID, g.ID); err != nil {
		return nil, err
	}
	replace(&t.Name, r.TopicName)
	replace(&t.FaceURL, r.FaceUrl)
	replace(&t.CustomText, r.CustomString)
	replace(&t.Notification, r.Notification)
	replace(&t.Introduction, r.Introduction)
	return t, nil
}

type destroyedTopic struct {
	TopicId   string
	ErrorCode int
	ErrorInfo string
}

type destroyAnswer struct {
	DestroyResultItem []destroyedTopic
}

// maxTopics bounds the topics named in one request.
const maxTopics = 500

// destroyTopics is destroy_topic: the named topics, or all (protocol 03 §11.2).
func (s *Service) destroyTopics(ctx context.Context, call *command.Call, req *topicRequest) (*destroyAnswer, error) {
	if len(req.TopicIdList) > maxTopics {
		return nil, command.Errf(CodeTooMany, "more than %d topics", maxTopics)
	}
	act := actorOf(call)
	var ans *destroyAnswer
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := withTopics(ctx, tx, g, act); err != nil {
			return err
		}
		have, err := topicsOf(ctx, tx, g.GID)
		if err != nil {
			return err
		}
		wanted := req.TopicIdList
		if len(wanted) == 0 {
			for id := range have {
				wanted = append(wanted, id)
			}
			slices.Sort(wanted)
		}
		ans = &destroyAnswer{DestroyResultItem: []destroyedTopic{}}
		var gone []string
		for _, id := range wanted {
			t := have[id]
			if t == nil {
				ans.DestroyResultItem = append(ans.DestroyResultItem, destroyedTopic{id, CodeNoGroup, errNoGroup.Info})
				continue
			}
			delete(have, id)
			gone, out.gone = append(gone, id), append(out.gone, t.GID)
			ans.DestroyResultItem = append(ans.DestroyResultItem, destroyedTopic{TopicId: id})
		}
		if len(gone) == 0 {
			return nil
		}
		for _, q := range []string{`DELETE FROM topic_members WHERE tid IN `, `DELETE FROM groups WHERE gid IN `} {
			if _, err := tx.ExecContext(ctx, q+store.In(1, len(out.gone)), store.Args(out.gone)...); err != nil {
				return fmt.Errorf("group: destroy topics: %w", err)
			}
		}
		first := *g
		first.Kind, first.Parent, first.ID = Topic, g.GID, gone[0] // names the community and a topic
		out.notices = append(out.notices, notice{about: &first, body: noticeBody{ReportType: noticeTopicGone, Operator_Account: act.id, TopicIdArray: gone}})
		return nil
	})
	return ans, err
}

// hasTopic refuses a topic that is not, or no longer, one of the community. The
// community must be locked.
func hasTopic(ctx context.Context, tx *sql.Tx, community, topic *Info) error {
	var there bool
	if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM groups WHERE gid = $1 AND parent = $2)`, topic.GID, community.GID).Scan(&there); err != nil {
		return fmt.Errorf("group: topic: %w", err)
	}
	if !there {
		return errNoGroup
	}
	return nil
}

func topicsOf(ctx context.Context, q store.Querier, gid int64) (map[string]*Info, error) {
	list, err := store.Collect(ctx, q, func(rows *sql.Rows, i *Info) error { return scanInfo(rows.Scan, i) },
		`SELECT `+infoColumns+` FROM groups g WHERE g.parent = $1 ORDER BY g.gid`, gid)
	if err != nil {
		return nil, fmt.Errorf("group: topics: %w", err)
	}
	byID := make(map[string]*Info, len(list))
	for i := range list {
		byID[list[i].ID] = &list[i]
	}
	return byID, nil
}

// newTopicInfo is MsgTopicNewInfo: what changed (protocol 03 §11.3).
type newTopicInfo struct {
	TopicName         *string `json:",omitempty"`
	TopicFaceUrl      *string `json:",omitempty"`
	TopicIntroduction *string `json:",omitempty"`
	TopicNotification *string `json:",omitempty"`
	CustomString      *string `json:",omitempty"`
	ShutupAll         *int    `json:",omitempty"`
}

// modifyTopic is modify_topic. Its tip is not stored: as an Event 6 it needs
// no sequence of the topic (protocol 03 §11.3, trap 20).
func (s *Service) modifyTopic(ctx context.Context, call *command.Call, req *topicRequest) (command.Empty, error) {
	if err := req.check(); err != nil {
		return command.Empty{}, err
	}
	act := actorOf(call)
	_, err := s.change(ctx, call, req.GroupId, func(tx *sql.Tx, g *Info, out *outbox) error {
		if err := withTopics(ctx, tx, g, act); err != nil {
			return err
		}
		have, err := topicsOf(ctx, tx, g.GID)
		if err != nil {
			return err
		}
		topic := have[req.TopicId]
		if topic == nil {
			return errNoGroup
		}
		told := newTopicInfo{TopicName: replace(&topic.Name, req.TopicName), TopicFaceUrl: replace(&topic.FaceURL, req.FaceUrl),
			TopicIntroduction: replace(&topic.Introduction, req.Introduction), TopicNotification: replace(&topic.Notification, req.Notification),
			CustomString: replace(&topic.CustomText, req.CustomString)}
		if mute := firstOf(req.ShutUpAllMember, req.MuteAllMember); mute != nil {
			if *mute != "On" && *mute != "Off" {
				return command.Err(CodeBadParameter, "ShutUpAllMember is On or Off")
			}
			topic.MuteAll = *mute == "On"
			n := flag(topic.MuteAll)
			told.ShutupAll = &n
		}
		topic.InfoSeq, topic.InfoTime = topic.InfoSeq+1, s.Now().Unix()
		out.gone = []int64{topic.GID} // to be read anew
		out.events = append(out.events, event{about: topic, body: tipBody{OpType: tipTopic, Operator_Account: act.id,
			MsgOperatorMemberExtraInfo: s.operator(ctx, act), MsgTopicNewInfo: told}})
		return s.saveProfile(ctx, tx, topic)
	})
	return command.Empty{}, err
}

type topicInfo struct {
	GroupId       string
	TopicId       string
	TopicName     string
	FaceUrl       string
	CustomString  string
	Notification  string
	Introduction  string
	CreateTime    int64
	NextMsgSeq    int64
	LastMsgTime   int64
	ShutUpAllFlag int
	LastMsg       json.RawMessage `json:",omitempty"`
	AtInfoList    json.RawMessage `json:",omitempty"`
}

type topicSelf struct {
	MsgSeq                    int64
	MsgFlag                   string
	ShutUpTime                int64
	NoUnreadSeqList           []int64
	InheritGroupReceiveOption int
}

type topicItem struct {
	ErrorCode int
	ErrorInfo string
	TopicInfo topicInfo
	SelfInfo  topicSelf
}

type topicsAnswer struct {
	TopicAndSelfInfo []topicItem
}

// topicSelfRow is what the caller keeps of a topic.
type topicSelfRow struct {
	tid, read, cleared, muted int64
	receive                   Receive
}

// topics is get_topic: the named topics of a community, or all, with the
// caller's own view of each; six queries at most (protocol 03 §11.4).
func (s *Service) topics(ctx context.Context, call *command.Call, req *topicRequest) (*topicsAnswer, error) {
	if len(req.TopicIdList) > maxTopics {
		return nil, command.Errf(CodeTooMany, "more than %d topics", maxTopics)
	}
	g, m, err := s.member(ctx, call, req.GroupId)
	if err != nil {
		return nil, err
	}
	if g.Kind != Community {
		return nil, errNotForKind
	}
	have, err := topicsOf(ctx, s.DB.Read, g.GID)
	if err != nil {
		return nil, err
	}
	wanted := req.TopicIdList
	if len(wanted) == 0 {
		for id := range have {
			wanted = append(wanted, id)
		}
		slices.SortFunc(wanted, func(a, b string) int { return int(have[a].GID - have[b].GID) })
	}
	own, err := s.topicSelves(ctx, g.GID, call.UID)
	if err != nil {
		return nil, err
	}
	views := make([]View, 0, len(wanted))
	for _, id := range wanted {
		if t := have[id]; t != nil {
			views = append(views, View{Log: t.GID, First: own[t.GID].cleared + 1, Read: own[t.GID].read, CountUnread: true})
		}
	}
	sums, err := s.Messages.Summaries(ctx, call.UID, views)
	if err != nil {
		return nil, err
	}
	ans := &topicsAnswer{TopicAndSelfInfo: make([]topicItem, 0, len(wanted))}
	for _, id := range wanted {
		t := have[id]
		if t == nil {
			ans.TopicAndSelfInfo = append(ans.TopicAndSelfInfo, topicItem{ErrorCode: CodeNoGroup, ErrorInfo: errNoGroup.Info, TopicInfo: topicInfo{GroupId: g.ID, TopicId: id}})
			continue
		}
		ans.TopicAndSelfInfo = append(ans.TopicAndSelfInfo, s.topicItem(ctx, t, m, own, sums[t.GID]))
	}
	return ans, nil
}

// topicSelves returns what uid keeps of the topics of a community.
func (s *Service) topicSelves(ctx context.Context, gid, uid int64) (map[int64]topicSelfRow, error) {
	list, err := store.Collect(ctx, s.DB.Read, func(rows *sql.Rows, r *topicSelfRow) error {
		return rows.Scan(&r.tid, &r.read, &r.cleared, &r.muted, &r.receive)
	}, `SELECT t.tid, t.read_seq, t.cleared_seq, t.muted_until, t.recv_opt FROM groups g JOIN topic_members t ON t.tid = g.gid AND t.uid = $2 WHERE g.parent = $1`, gid, uid)
	if err != nil {
		return nil, fmt.Errorf("group: topics: %w", err)
	}
	byID := make(map[int64]topicSelfRow, len(list))
	for _, r := range list {
		byID[r.tid] = r
	}
	return byID, nil
}

func (s *Service) topicItem(ctx context.Context, t *Info, m *Member, own map[int64]topicSelfRow, sum Summary) topicItem {
	item := topicItem{TopicInfo: topicInfo{GroupId: t.CommunityID(), TopicId: t.ID, TopicName: t.Name, FaceUrl: t.FaceURL, CustomString: t.CustomText,
		Notification: t.Notification, Introduction: t.Introduction, CreateTime: t.CreatedAt, NextMsgSeq: sum.LastSeq + 1, LastMsgTime: sum.LastTime,
		ShutUpAllFlag: flag(t.MuteAll), AtInfoList: sum.Mentions}}
	item.TopicInfo.LastMsg = s.topicLast(ctx, sum.Newest)
	self := &item.SelfInfo
	self.NoUnreadSeqList = []int64{}
	self.InheritGroupReceiveOption = 1
	if m != nil {
		self.MsgFlag = m.Receive.String()
	}
	// The SDK computes unread = NextMsgSeq - 1 - MsgSeq (protocol 03 §11.4);
	// what does not count is taken off here.
	self.MsgSeq = sum.LastSeq - int64(sum.Unread)
	if r, kept := own[t.GID]; kept {
		self.ShutUpTime = r.muted
		if r.receive != Inherit {
			self.MsgFlag, self.InheritGroupReceiveOption = r.receive.String(), 0
		}
	}
	return item
}
