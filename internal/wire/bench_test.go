package wire_test

import (
	"testing"

	"imserver/internal/wire"
)

// sent is openim.sendmsg as a v3 SDK writes it, head, boilerplate and all.
var sent = []byte(`{"head":{"ver":"v4","servcmd":"openim.sendmsg","seq":57228886,"platform":7,"websdkappid":537048168,"websdkversion":"1.7.3",` +
	`"a2":"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJhcHAiOjE0MDAwMDAwMDEsInN1YiI6IjE0NDExNTIwMDAwMDAwMDAwMSIsImlucyI6MTAwMX0.c2lnbmF0dXJl","tinyid":"144115200000000001",` +
	`"status_instid":1001,"sdkappid":1400000001,"contenttype":"json","reqtime":1795387215,"sdkability":75689843,"sdkability_ext":"","cappid":0,"cs":2330566360},` +
	`"body":{"From_Account":"alice","To_Account":"bob","MsgSeq":2240150001,"MsgRandom":12811523,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi bob"}}],` +
	`"CloudCustomData":"","OfflinePushInfo":{"PushFlag":0,"Title":"","Desc":"","Ext":"","ApnsInfo":{"Sound":"","BadgeMode":0},"AndroidInfo":{"Sound":"","XiaoMiChannelID":""}},` +
	`"SendMsgControl":[],"MsgClientTime":1795387214,"IsNeedReadReceipt":1,"SupportMessageExtension":0,"IsRelayMsg":0}}`)

var item = []byte(`{"Event":9,"C2cMsgArray":[{"From_Account":"alice","To_Account":"bob","MsgSeq":2240150001,"MsgRandom":12811523,"MsgTimeStamp":1795387214,` +
	`"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"hi bob"}}]}]}`)

func BenchmarkDecode(b *testing.B) {
	b.SetBytes(int64(len(sent)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := wire.Decode(sent); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMergedPush(b *testing.B) {
	items := make([][]byte, 16)
	for i := range items {
		items[i] = item
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf = wire.AppendMergedPush(buf[:0], items, wire.Binary)
	}
}

// Ensure that the hot paths stay within what they may allocate: a decoded
// request its strings, a frame that all members share nothing after the first,
// a merged push into a buffer that is there nothing.
func TestAllocationBudgets(t *testing.T) {
	frame := wire.NewFrame(wire.AppendPush(nil, item))
	frame.Bytes(wire.Binary)
	buf := make([]byte, 0, 64<<10)
	items := [][]byte{item, item, item}
	for _, tt := range []struct {
		name   string
		budget float64
		run    func()
	}{
		{"Decode", 5, func() { _, _, _ = wire.Decode(sent) }}, // servcmd, seq, a2, tinyid; one to spare
		{"FrameBytes", 0, func() { frame.Bytes(wire.Binary) }},
		{"MergedPush", 0, func() { buf = wire.AppendMergedPush(buf[:0], items, wire.Binary) }},
		{"Answer", 0, func() { buf = wire.AppendAnswer(buf[:0], "openim.sendmsg", "57228886", []byte("{}")) }},
	} {
		if n := testing.AllocsPerRun(200, tt.run); n > tt.budget {
			t.Errorf("%s allocates %.0f times, budget %.0f", tt.name, n, tt.budget)
		}
	}
}
