package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zlib"

	"imserver/internal/wire"
)

// Ensure a request as the SDKs send it splits into head and body.
func TestDecode(t *testing.T) {
	frame := []byte(`{"head":{"ver":"v4","platform":7,"websdkappid":537048168,"sdkappid":1400000001,"status_instid":1001,` +
		`"a2":"k9","tinyid":"144115200000012345","servcmd":"openim.getmsg","seq":49846490,"cs":123},"body":{"Cookie":"","x":[1,{"y":2}]}}`)
	head, body, err := wire.Decode(frame)
	if err != nil {
		t.Fatal(err)
	}
	want := wire.Head{Command: "openim.getmsg", Seq: "49846490", App: 1400000001, Platform: 7, Inst: 1001, A2: "k9", TinyID: "144115200000012345"}
	if head != want {
		t.Errorf("head = %+v, want %+v", head, want)
	}
	if string(body) != `{"Cookie":"","x":[1,{"y":2}]}` {
		t.Errorf("body = %s", body)
	}
}

// Ensure the order of members and lite's numeric strings do not matter.
func TestDecodeTolerates(t *testing.T) {
	head, body, err := wire.Decode([]byte(`{"body":{},"extra":[1],"head":{"servcmd":"a.b","seq":"17","sdkappid":"5"}}`))
	if err != nil || head.Seq != "17" || head.App != 5 || string(body) != "{}" {
		t.Fatalf("%+v %s %v", head, body, err)
	}
	if _, body, err = wire.Decode([]byte(`{"head":{"servcmd":"a.b","seq":1}}`)); err != nil || body != nil {
		t.Fatalf("without body: %s %v", body, err)
	}
}

// Ensure a command name of any length reaches the table, so that it is
// answered as unknown: the sender waits for an answer.
func TestDecodeKeepsLongNames(t *testing.T) {
	name := strings.Repeat("x", 10_000)
	head, _, err := wire.Decode([]byte(`{"head":{"servcmd":"` + name + `","seq":1},"body":{}}`))
	if err != nil || head.Command != name {
		t.Errorf("command of %d bytes, err = %v", len(head.Command), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		frame string
		want  error
	}{
		"NotJSON":      {"hello", wire.ErrNotJSON},
		"Cut":          {`{"head":{"servcmd":"a.b"`, wire.ErrNotJSON},
		"Array":        {`[1]`, wire.ErrNoHead},
		"NoHead":       {`{"body":{}}`, wire.ErrNoHead},
		"HeadNoObject": {`{"head":7}`, wire.ErrNoHead},
		"NoCommand":    {`{"head":{"seq":1}}`, wire.ErrNoHead},
		"BadUTF8":      {"{\"head\":{\"servcmd\":\"a\xff\"}}", wire.ErrNotJSON},
		"Deep":         {`{"head":{"servcmd":"a.b"},"body":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, wire.ErrTooDeep},
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := wire.Decode([]byte(tt.frame)); !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
}

// Ensure the sender of a frame that is too long to be read whole can be told.
func TestPeekHead(t *testing.T) {
	h := wire.PeekHead([]byte(`{"head":{"servcmd":"openim.sendmsg","seq":7},"body":{"Text":"` + strings.Repeat("x", 9000)))
	if h.Command != "openim.sendmsg" || h.Seq != "7" {
		t.Errorf("head = %+v", h)
	}
}

// payload takes the first WebSocket message of b apart.
func payload(t *testing.T, b []byte) (opcode byte, data, rest []byte) {
	t.Helper()
	if b[0]&0x80 == 0 || b[1]&0x80 != 0 {
		t.Fatalf("header % x: not final, or masked", b[:2])
	}
	size, at := int(b[1]), 2
	switch size {
	case 126:
		size, at = int(b[2])<<8|int(b[3]), 4
	case 127:
		size, at = 0, 10
		for _, c := range b[2:10] {
			size = size<<8 | int(c)
		}
	}
	return b[0] & 15, b[at : at+size], b[at+size:]
}

// Ensure each mode has its opcode, and only large frames of a connection that
// asked for it are compressed.
func TestFrameModes(t *testing.T) {
	for _, size := range []int{10, 125, 126, 1000, 5000, 70_000} {
		doc, _ := json.Marshal(map[string]string{"x": strings.Repeat("y", size)})
		f := wire.NewFrame(doc)
		op, data, _ := payload(t, f.Bytes(wire.Text))
		if op != 1 || !bytes.Equal(data, doc) {
			t.Errorf("%d: text frame differs", size)
		}
		if op, data, _ = payload(t, f.Bytes(wire.Binary)); op != 2 || !bytes.Equal(data, doc) {
			t.Errorf("%d: binary frame differs", size)
		}
		op, data, _ = payload(t, f.Bytes(wire.Compressed))
		if bytes.HasPrefix(data, []byte("COMP")) {
			r, err := zlib.NewReader(bytes.NewReader(data[4:]))
			if err != nil {
				t.Fatal(err)
			}
			if data, err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		} else if size > 4096 {
			t.Errorf("%d: not compressed", size)
		}
		if op != 2 || !bytes.Equal(data, doc) {
			t.Errorf("%d: compressed frame differs", size)
		}
	}
}

// Ensure merged events are one push with the items in order.
func TestMergedPush(t *testing.T) {
	items := [][]byte{[]byte(`{"Event":9,"a":1}`), []byte(`{"Event":10,"b":2}`)}
	op, data, rest := payload(t, wire.AppendMergedPush(nil, items, wire.Text))
	if op != 1 || len(rest) != 0 {
		t.Fatalf("opcode %d, %d bytes left", op, len(rest))
	}
	var doc struct {
		Head struct{ Servcmd string }
		Body struct{ EventArray []struct{ Event int } }
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Head.Servcmd != wire.PushCommand || len(doc.Body.EventArray) != 2 || doc.Body.EventArray[1].Event != 10 {
		t.Errorf("%s", data)
	}
}

// recorded returns frames as real clients sent them.
func recorded(f *testing.F) (frames [][]byte) {
	lines, err := os.ReadFile("../../cmd/imserver/testdata/requests.jsonl")
	if err != nil {
		f.Fatal(err)
	}
	for line := range bytes.Lines(lines) {
		var r struct {
			Command string
			Body    json.RawMessage
		}
		if err := json.Unmarshal(line, &r); err != nil {
			f.Fatal(err)
		}
		frames = append(frames, fmt.Appendf(nil, `{"head":{"ver":"v4","platform":7,"sdkappid":1400000001,"contenttype":"json","status_instid":1001,"a2":"k","tinyid":"144115200000000001","servcmd":%q,"seq":%d,"cs":1},"body":%s}`,
			r.Command, len(frames)+1, r.Body))
	}
	return frames
}

// FuzzDecode: no frame panics, and what is accepted is safe to echo.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"head":{"servcmd":"a.b","seq":1},"body":{}}`))
	f.Add([]byte(`{"head":{"servcmd":"a\"b","seq":"9"},"body":[[[]]]}`))
	f.Add([]byte(`{"head":{"servcmd":"x","seq":1e3},"body":null}`))
	for _, frame := range recorded(f) {
		f.Add(frame)
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		wire.PeekHead(frame)
		head, body, err := wire.Decode(frame)
		if err != nil {
			return
		}
		if json.Valid(frame) {
			var names map[string]json.RawMessage
			if json.Unmarshal(frame, &names) == nil && names["body"] != nil && !bytes.Equal(names["body"], body) && bytes.Count(frame, []byte("body")) == 1 {
				t.Fatalf("body is %q, want %q", body, names["body"])
			}
		}
		if doc := wire.AppendAnswer(nil, head.Command, head.Seq, []byte(`{}`)); !json.Valid(doc) {
			t.Fatalf("answer is not JSON: %q", doc)
		}
	})
}

// FuzzString: every string becomes valid JSON that reads back as its valid form.
func FuzzString(f *testing.F) {
	f.Add("a\"\\\n\x00\u2028é\xff")
	f.Fuzz(func(t *testing.T, s string) {
		var back string
		if err := json.Unmarshal(wire.AppendString(nil, s), &back); err != nil {
			t.Fatal(err)
		}
		if utf8.ValidString(s) && back != s {
			t.Fatalf("%q became %q", s, back)
		}
	})
}

func TestObject(t *testing.T) {
	o := wire.OpenObject(nil)
	o.Str("S", "a\"b")
	o.Int("I", -3)
	o.ID("T", 144115200000000001)
	o.Flag("F", true)
	o.Raw("R", nil)
	o.List("L", [][]byte{[]byte(`{}`), []byte(`"x"`)})
	o.List("N", nil)
	o.Ints("J", []int64{1, -2})
	o.Ints("K", nil)
	if got, want := string(o.Close()), `{"S":"a\"b","I":-3,"T":"144115200000000001","F":1,"R":null,"L":[{},"x"],"N":[],"J":[1,-2],"K":[]}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
