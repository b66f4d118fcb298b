package language_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/language"
)

// ask runs a command and returns its answer, which must be a success on the
// outside whatever happened.
func ask(t *testing.T, app *config.App, name, body string) (code float64, ans map[string]any) {
	t.Helper()
	table := command.NewTable()
	language.New(language.HTTP{Client: http.DefaultClient}, slog.New(slog.DiscardHandler)).Register(table)
	v, err := table.Run(context.Background(), &command.Call{Name: name, Kind: command.Users, App: app, UserID: "ann", UID: 1, RequestID: "r"}, []byte(body))
	doc, outer := command.AppendAnswer(nil, v, err)
	if outer != 0 {
		t.Fatal(string(doc))
	}
	if err := json.Unmarshal(doc, &ans); err != nil {
		t.Fatal(err)
	}
	status, ok := ans["CmdErrorCode"].(map[string]any)
	if !ok {
		t.Fatalf("no CmdErrorCode in %s", doc)
	}
	if status["ErrorCode"] != 0.0 && status["ErrorInfo"] == "" {
		t.Fatalf("no text in %s", doc)
	}
	return status["ErrorCode"].(float64), ans
}

const (
	translate = "im_open_translate.ws_batch_trans_text"
	recognize = "im_open_speech.ws_sentence_recognition"
)

// Ensure that without an engine both commands say so in CmdErrorCode.
func TestNotConfigured(t *testing.T) {
	app := &config.App{SDKAppID: 1}
	if code, _ := ask(t, app, translate, `{"SourceText":["hello"],"Source":"en","Target":"zh"}`); code != 60020 {
		t.Error(code)
	}
	if code, _ := ask(t, app, recognize, `{"BytesUrl":"http://h/a.mp3"}`); code != 60020 {
		t.Error(code)
	}
}

// Ensure that the HTTP engine is asked with its token and its answers, failures
// and delays reach the caller as codes without its texts.
func TestHTTP(t *testing.T) {
	answer := ""
	status := http.StatusOK
	delay := time.Duration(0)
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if json.NewDecoder(r.Body).Decode(&in) != nil || r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		time.Sleep(delay)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
	}))
	defer engine.Close()
	at := config.Service{URL: engine.URL, Token: "secret", Timeout: 200 * time.Millisecond}
	app := &config.App{SDKAppID: 1, Settings: config.Settings{Translate: at, Speech: at}}
	const body = `{"SourceText":["hello","bye"],"Source":"auto","Target":"de"}`
	answer = `{"texts":["hallo","tschüs"]}`
	if code, ans := ask(t, app, translate, body); code != 0 || ans["TargetText"].([]any)[1] != "tschüs" {
		t.Error(code, ans)
	}
	answer = `{"text":"good morning"}`
	if code, ans := ask(t, app, recognize, `{"BytesUrl":"http://h/a.mp3","BytesVoiceFormat":"mp3","BytesEngServiceType":"16k_en"}`); code != 0 || ans["BytesResult"] != "good morning" {
		t.Error(code, ans)
	}
	answer = `{"texts":["hallo"]}`
	if code, ans := ask(t, app, translate, body); code != 60005 || len(ans["TargetText"].([]any)) != 0 {
		t.Error("another number of texts", code, ans)
	}
	status, answer = http.StatusInternalServerError, "secret stack"
	code, ans := ask(t, app, translate, body)
	if info := ans["CmdErrorCode"].(map[string]any)["ErrorInfo"].(string); code != 60005 || strings.Contains(info, "secret") || strings.Contains(info, engine.URL) {
		t.Error(code, info)
	}
	status, delay = http.StatusOK, 400*time.Millisecond
	if code, _ := ask(t, app, translate, body); code != 60008 {
		t.Error("late", code)
	}
	for _, bad := range []string{`{"SourceText":[],"Target":"de"}`, `{"SourceText":["x"]}`, `{"SourceText":["` + strings.Repeat("x", 40<<10) + `"],"Target":"de"}`} {
		if code, _ := ask(t, app, translate, bad); code != 60003 {
			t.Error("bad request", code)
		}
	}
}
