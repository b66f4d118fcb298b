package loadgen

import (
	"bytes"
	"strconv"
)

// A message of a run carries in its text when it was sent and its number, in
// hexadecimal: "@@" + 16 digits + 16 digits. Whoever receives it knows its
// latency and whether it was the next.
const (
	mark      = "@@"
	stampSize = len(mark) + 32
)

// pushInfo is the offline push part that a v3 SDK sends with every message
// when the app sets none.
const pushInfo = `"OfflinePushInfo":{"PushFlag":0,"Title":"","Desc":"","Ext":"","ApnsInfo":{"Sound":"","BadgeMode":0,"Image":"",` +
	`"InterruptionLevel":"active","ContentAvailable":0},"AndroidInfo":{"Sound":"","XiaoMiChannelID":"","OPPOChannelID":"","GoogleChannelID":"",` +
	`"VIVOClassification":1,"VIVOCategory":"","HuaWeiCategory":"","OPPOCategory":"","HuaWeiImage":"","HonorImage":"","GoogleImage":"","HonorImportance":""}}`

// Text returns a text of size bytes that begins with a stamp.
func Text(dst []byte, sent, number int64, size int) []byte {
	start := len(dst)
	dst = append(dst, mark...)
	dst = appendHex(dst, uint64(sent))
	dst = appendHex(dst, uint64(number))
	const filler = " the quick brown fox jumps over the lazy dog and comes back to jump again"
	for len(dst)-start < size {
		dst = append(dst, filler[:min(len(filler), size-len(dst)+start)]...)
	}
	return dst
}

func appendHex(dst []byte, n uint64) []byte {
	const hex = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, hex[n>>shift&15])
	}
	return dst
}

// C2C is the body of openim.sendmsg as a v3 SDK writes it.
func C2C(dst []byte, from, to string, msgSeq, random, sent, number, unix int64, size int) []byte {
	dst = append(dst, `{"From_Account":"`...)
	dst = append(dst, from...)
	dst = append(dst, `","To_Account":"`...)
	dst = append(dst, to...)
	dst = append(dst, `","MsgSeq":`...)
	dst = strconv.AppendInt(dst, msgSeq, 10)
	dst = append(dst, `,"MsgRandom":`...)
	dst = strconv.AppendInt(dst, random, 10)
	dst = append(dst, `,"MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"`...)
	dst = Text(dst, sent, number, size)
	dst = append(dst, `"}}],"CloudCustomData":"","From_AccountNick":"","From_AccountHeadurl":"",`+pushInfo+`,"SendMsgControl":[],"MsgClientTime":`...)
	dst = strconv.AppendInt(dst, unix, 10)
	return append(dst, `,"IsNeedReadReceipt":0,"SupportMessageExtension":0,"IsRelayMsg":0}`...)
}

// Group is the body of send_group_msg as a v3 SDK writes it.
func Group(dst []byte, from, group string, random, clientSeq, sent, number int64, size int) []byte {
	dst = append(dst, `{"From_Account":"`...)
	dst = append(dst, from...)
	dst = append(dst, `","GroupId":"`...)
	dst = append(dst, group...)
	dst = append(dst, `","Random":`...)
	dst = strconv.AppendInt(dst, random, 10)
	dst = append(dst, `,"ClientSeq":`...)
	dst = strconv.AppendInt(dst, clientSeq, 10)
	dst = append(dst, `,"MsgPriority":"Normal","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"`...)
	dst = Text(dst, sent, number, size)
	return append(dst, `"}}],"CloudCustomData":"","OnlineOnlyFlag":0,`+pushInfo+`,"SendMsgControl":[],"NeedReadReceipt":0,"SupportMessageExtension":0}`...)
}

// Stamps calls fn for every message of a run in a push document, in its order.
func Stamps(doc []byte, fn func(sent, number int64)) {
	for {
		i := bytes.Index(doc, []byte(mark))
		if i < 0 || len(doc) < i+stampSize {
			return
		}
		doc = doc[i+len(mark):]
		sent, err1 := strconv.ParseUint(string(doc[:16]), 16, 64)
		number, err2 := strconv.ParseUint(string(doc[16:32]), 16, 64)
		if err1 == nil && err2 == nil {
			fn(int64(sent), int64(number))
		}
	}
}
