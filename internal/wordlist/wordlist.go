// Package wordlist serves the app's word list to SDKs that filter texts by
// themselves before sending (protocol 05 E).
package wordlist

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"sync"

	"imserver/internal/command"
	"imserver/internal/config"
)

// What an SDK does with a hit, and how it finds one (protocol 05 E).
const (
	filterBlock   = 1
	filterReplace = 2
	wordPlain     = 1
	wordRegexp    = 2
)

const (
	pageSize = 500
	lifetime = 86400 // seconds until an SDK asks again
)

// Service answers the command.
type Service struct {
	mu    sync.Mutex
	lists map[uint32]*list // by app; guarded by mu. The configuration does not change
}

// New makes the service.
func New() *Service { return &Service{lists: map[uint32]*list{}} }

// Register adds the command to the table.
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "im_msg_audit_mgr.get_local_words", command.Users, s.words)
}

type wordsRequest struct {
	Start int `json:"uint64_start_index"`
}

type word struct {
	Text    string `json:"str_dirty_word"`
	Replace string `json:"str_replaced_content"`
	Filter  int    `json:"uint64_filter_type"`
	Kind    int    `json:"uint64_word_type"`
	ID      int    `json:"uint64_id"`
}

type status struct {
	Code int    `json:"uint32_code"`
	Text string `json:"str_err_msg"`
}

type scenes struct {
	C2CText     int `json:"uint64_c2c_text_msg_flag"`
	C2CCustom   int `json:"uint64_c2c_custom_msg_flag"`
	GroupText   int `json:"uint64_group_text_msg_flag"`
	GroupCustom int `json:"uint64_group_custom_msg_flag"`
	GroupInfo   int `json:"uint64_group_info_flag"`
	MemberInfo  int `json:"uint64_group_member_info_flag"`
	Relation    int `json:"uint64_relation_chain_flag"`
	UserInfo    int `json:"uint64_user_info_flag"`
}

type wordsAnswer struct {
	Status   status `json:"msg_cmd_error_code"`
	Complete int    `json:"uint64_complete_flag"`
	Next     int    `json:"uint64_next_start_index"`
	Version  uint32 `json:"uint64_version"`
	Expires  int    `json:"uint64_expired_time"`
	Words    []word `json:"rpt_msg_dirty_word"`
	Token    string `json:"str_token"`
	Scenes   scenes `json:"msg_scene_ctl_config"`
}

// words is im_msg_audit_mgr.get_local_words.
func (s *Service) words(_ context.Context, call *command.Call, req *wordsRequest) (*wordsAnswer, error) {
	l, err := s.list(call.App)
	if err != nil {
		return nil, err
	}
	start := max(0, min(req.Start, len(l.words)))
	end := min(start+pageSize, len(l.words))
	ans := &wordsAnswer{Version: l.version, Expires: lifetime, Words: l.words[start:end], Token: l.token, Next: end}
	if end == len(l.words) {
		ans.Complete = 1
	}
	if len(l.words) > 0 {
		ans.Scenes = scenes{1, 1, 1, 1, 1, 1, 1, 1}
	}
	return ans, nil
}

// list is an app's words as they are sent.
type list struct {
	version uint32
	token   string
	words   []word
}

func (s *Service) list(app *config.App) (*list, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lists[app.SDKAppID]; l != nil {
		return l, nil
	}
	l, err := encode(app)
	if err != nil {
		return nil, fmt.Errorf("wordlist: %w", err)
	}
	s.lists[app.SDKAppID] = l
	return l, nil
}

// encode encrypts the words with a key made of the app's secret and the list,
// so that all pages and all nodes use the same one.
func encode(app *config.App) (*list, error) {
	sum := sha256.New()
	for _, k := range app.Keys {
		_, _ = fmt.Fprintf(sum, "%q", k) // a hash takes everything
	}
	for _, w := range app.Words {
		_, _ = fmt.Fprintf(sum, "%q%q%v", w.Text, w.Replace, w.Regexp)
	}
	digest := sum.Sum(nil)
	key := hex.EncodeToString(digest[:16]) // 32 characters
	l := &list{version: binary.BigEndian.Uint32(digest[16:])>>1 | 1, token: swapPairs(key), words: make([]word, 0, len(app.Words))}
	for i, w := range app.Words {
		out := word{Filter: filterBlock, Kind: wordPlain, ID: i + 1}
		if w.Replace != "" {
			out.Filter = filterReplace
		}
		if w.Regexp {
			out.Kind = wordRegexp
		}
		var err error
		if out.Text, err = encrypt(key, w.Text); err != nil {
			return nil, err
		}
		if out.Replace, err = encrypt(key, w.Replace); err != nil {
			return nil, err
		}
		l.words = append(l.words, out)
	}
	return l, nil
}

// swapPairs exchanges neighbouring characters: how the key is given (protocol 05 E).
func swapPairs(s string) string {
	b := []byte(s)
	for i := 0; i+1 < len(b); i += 2 {
		b[i], b[i+1] = b[i+1], b[i]
	}
	return string(b)
}

// encrypt is AES-256-CBC with PKCS7 padding and the key's first half as IV, in
// Base64 (protocol 05 E).
func encrypt(key, text string) (string, error) {
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		return "", err
	}
	pad := aes.BlockSize - len(text)%aes.BlockSize
	data := []byte(text)
	for range pad {
		data = append(data, byte(pad))
	}
	cipher.NewCBCEncrypter(block, []byte(key[:aes.BlockSize])).CryptBlocks(data, data)
	return base64.StdEncoding.EncodeToString(data), nil
}
