package command

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type plainRequest struct {
	Text  string
	Small int
	Large int64
	Raw   json.RawMessage
	Maybe *int64
	List  []string
}

type fieldRequest struct{ plainRequest }

func (r *fieldRequest) Field(name []byte) any {
	switch string(name) {
	case "Text":
		return &r.Text
	case "Small":
		return &r.Small
	case "Large":
		return &r.Large
	case "Raw":
		return &r.Raw
	case "Maybe":
		return &r.Maybe
	case "List":
		return &r.List
	}
	return nil
}

// Ensure a request that says where its members go is decoded as any other,
// its faults included.
func TestFieldsDecodeLikeAnyOther(t *testing.T) {
	for _, body := range []string{
		``, ` `, `null`, `{}`, `{"Text":"a","Small":-3,"Large":9007199254740993,"Raw":[ 1, {"x":"\""}],"Maybe":0,"List":["a","b"]}`,
		`{"Text":"a\n\u00e9\ud83d\ude00"}`, `{"Text":null,"Small":null,"Raw":null,"Maybe":null,"List":null}`, `{"Text":"a","Text":"b"}`,
		` { "Text" : "a" , "Other" : [ { } ] } `, `{"Small":1.5}`, `{"Small":"1"}`, `{"Text":1}`, `{"List":[1]}`, `{"List":"a"}`, `{"Large":1e3}`,
		`[]`, `"x"`, `{"Text":"a"`, `{"Other":tru}`, `{"Text":"a"} x`, `{"Small":99999999999999999999}`, "{\"Text\":\"\xff\"}",
	} {
		var plain plainRequest
		var fields fieldRequest
		want, got := decode([]byte(body), &plain), decode([]byte(body), &fields)
		if (want == nil) != (got == nil) || want != nil && badBody(want).Error() != badBody(got).Error() {
			t.Errorf("%s: %v, want %v", body, got, want)
		} else if diff := cmp.Diff(plain, fields.plainRequest); want == nil && diff != "" {
			t.Errorf("%s: %s", body, diff)
		}
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	body := []byte(`{"Text":"an account's name","Small":1,"Large":2241100001,"Raw":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"some sixty characters of text, as a message often has"}}],"List":[]}`)
	for name, req := range map[string]func() any{"fields": func() any { return new(fieldRequest) }, "reflection": func() any { return new(plainRequest) }} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(body, req()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
