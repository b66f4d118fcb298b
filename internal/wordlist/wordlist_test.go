package wordlist_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"testing"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/wordlist"
)

func words(t *testing.T, app *config.App, body string) map[string]any {
	t.Helper()
	table := command.NewTable()
	wordlist.New().Register(table)
	v, err := table.Run(context.Background(), &command.Call{Name: "im_msg_audit_mgr.get_local_words", Kind: command.Users, App: app, UserID: "ann", UID: 1}, []byte(body))
	doc, code := command.AppendAnswer(nil, v, err)
	if code != 0 {
		t.Fatal(string(doc))
	}
	var ans map[string]any
	if err := json.Unmarshal(doc, &ans); err != nil {
		t.Fatal(err)
	}
	return ans
}

// decrypt is what the plugin does (protocol 05 E).
func decrypt(t *testing.T, token, text string) string {
	t.Helper()
	key := []byte(token)
	for i := 0; i+1 < len(key); i += 2 {
		key[i], key[i+1] = key[i+1], key[i]
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCDecrypter(block, key[:16]).CryptBlocks(data, data)
	return string(bytes.TrimRight(data, string(data[len(data)-1:])))
}

// Ensure that an empty list is a complete answer.
func TestNoWords(t *testing.T) {
	ans := words(t, &config.App{SDKAppID: 1, Keys: []string{"k"}}, `{"uint64_version":0,"str_device_id":"","uint64_start_index":0}`)
	if ans["uint64_complete_flag"] != 1.0 || len(ans["str_token"].(string)) != 32 || len(ans["rpt_msg_dirty_word"].([]any)) != 0 || ans["uint64_expired_time"] != 86400.0 ||
		ans["msg_cmd_error_code"].(map[string]any)["uint32_code"] != 0.0 {
		t.Fatal(ans)
	}
}

// Ensure that words can be read with the token, in pages, and that the version
// tells lists apart.
func TestWords(t *testing.T) {
	app := &config.App{SDKAppID: 1, Keys: []string{"k"}}
	for range 600 {
		app.Words = append(app.Words, config.Word{Text: "filler"})
	}
	app.Words[0] = config.Word{Text: "darn", Replace: "*"}
	app.Words[1] = config.Word{Text: "b[ae]d", Regexp: true}
	ans := words(t, app, `{}`)
	list := ans["rpt_msg_dirty_word"].([]any)
	if len(list) != 500 || ans["uint64_complete_flag"] != 0.0 || ans["uint64_next_start_index"] != 500.0 {
		t.Fatal(len(list), ans["uint64_complete_flag"], ans["uint64_next_start_index"])
	}
	token := ans["str_token"].(string)
	one, two := list[0].(map[string]any), list[1].(map[string]any)
	if decrypt(t, token, one["str_dirty_word"].(string)) != "darn" || decrypt(t, token, one["str_replaced_content"].(string)) != "*" || one["uint64_filter_type"] != 2.0 || one["uint64_word_type"] != 1.0 {
		t.Fatal(one)
	}
	if decrypt(t, token, two["str_dirty_word"].(string)) != "b[ae]d" || two["uint64_filter_type"] != 1.0 || two["uint64_word_type"] != 2.0 {
		t.Fatal(two)
	}
	rest := words(t, app, `{"uint64_start_index":500}`)
	if len(rest["rpt_msg_dirty_word"].([]any)) != 100 || rest["uint64_complete_flag"] != 1.0 || rest["str_token"] != token {
		t.Fatal(rest)
	}
	other := *app
	other.Words = app.Words[:1]
	if words(t, &other, `{}`)["uint64_version"] == ans["uint64_version"] {
		t.Fatal("two lists have one version")
	}
}
