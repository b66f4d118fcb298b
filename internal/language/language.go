// Package language does what needs an engine that understands language:
// translating texts and turning speech into text. The engines are services
// that the app's operator names; without one the commands answer so.
package language

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"imserver/internal/command"
	"imserver/internal/config"
)

// Codes inside CmdErrorCode (protocol 02 §18).
const (
	codeNotEnabled = 60020
	codeFailed     = 60005 // the engine did not do it
)

// Bounds of one request.
const (
	maxTexts = 50
	maxBytes = 32 << 10
	maxURL   = 2048
)

// Translation is texts to be translated. Source may be "auto".
type Translation struct {
	Texts          []string
	Source, Target string
}

// Recording is speech to be written down: an address of the audio, its format
// ("mp3", "wav" …) and the language model ("16k_zh" …).
type Recording struct {
	URL, Format, Engine string
}

// Engine does the work. Translate returns as many texts as it was given, in
// their order.
type Engine interface {
	Translate(ctx context.Context, at config.Service, t Translation) ([]string, error)
	Recognize(ctx context.Context, at config.Service, r Recording) (string, error)
}

// Service does the commands.
type Service struct {
	engine Engine
	log    *slog.Logger
}

// New makes the service over an engine.
func New(engine Engine, log *slog.Logger) *Service { return &Service{engine, log} }

// Register adds the commands to the table.
func (s *Service) Register(t *command.Table) {
	command.Handle(t, "im_open_translate.ws_batch_trans_text", command.Users, s.translate)
	command.Handle(t, "im_open_speech.ws_sentence_recognition", command.Users, s.recognize)
}

// status must be in every answer, also in refusals: the SDKs look at nothing
// else (protocol 02 §18, trap 20).
type status struct {
	ErrorCode int
	ErrorInfo string
}

type translateRequest struct {
	SourceText []string
	Source     string
	Target     string
}

type translateAnswer struct {
	CmdErrorCode status
	TargetText   []string
	RequestId    string
}

// translate is im_open_translate.ws_batch_trans_text (protocol 02 §18).
func (s *Service) translate(ctx context.Context, call *command.Call, req *translateRequest) (*translateAnswer, error) {
	ans := &translateAnswer{TargetText: []string{}, RequestId: call.RequestID}
	size := 0
	for _, t := range req.SourceText {
		size += len(t)
	}
	switch {
	case call.App.Translate.URL == "":
		ans.CmdErrorCode = status{codeNotEnabled, "translation is not enabled"}
	case len(req.SourceText) == 0 || len(req.SourceText) > maxTexts || size > maxBytes || len(req.Source) > 32 || len(req.Target) == 0 || len(req.Target) > 32:
		ans.CmdErrorCode = status{command.CodeBadRequest, fmt.Sprintf("1 to %d texts of at most %d bytes together, and a target language", maxTexts, maxBytes)}
	default:
		texts, err := s.engine.Translate(ctx, call.App.Translate, Translation{req.SourceText, req.Source, req.Target})
		if err == nil && len(texts) != len(req.SourceText) {
			err = errors.New("the engine returned another number of texts")
		}
		if ans.CmdErrorCode = s.status(call, err); err == nil {
			ans.TargetText = texts
		}
	}
	return ans, nil
}

type recognizeRequest struct {
	BytesUrl            string
	BytesVoiceFormat    string
	BytesEngServiceType string
}

type recognizeAnswer struct {
	CmdErrorCode   status
	BytesResult    string
	BytesRequestid string
}

// recognize is im_open_speech.ws_sentence_recognition (protocol 02 §18).
func (s *Service) recognize(ctx context.Context, call *command.Call, req *recognizeRequest) (*recognizeAnswer, error) {
	ans := &recognizeAnswer{BytesRequestid: call.RequestID}
	switch {
	case call.App.Speech.URL == "":
		ans.CmdErrorCode = status{codeNotEnabled, "speech recognition is not enabled"}
	case req.BytesUrl == "" || len(req.BytesUrl) > maxURL || !utf8.ValidString(req.BytesUrl) || len(req.BytesVoiceFormat) > 32 || len(req.BytesEngServiceType) > 32:
		ans.CmdErrorCode = status{command.CodeBadRequest, "the address of the audio is missing or malformed"}
	default:
		var err error
		ans.BytesResult, err = s.engine.Recognize(ctx, call.App.Speech, Recording{req.BytesUrl, req.BytesVoiceFormat, req.BytesEngServiceType})
		ans.CmdErrorCode = s.status(call, err)
	}
	return ans, nil
}

// status tells of an engine's failure without its text, which may hold
// addresses and keys.
func (s *Service) status(call *command.Call, err error) status {
	switch {
	case err == nil:
		return status{}
	case errors.Is(err, context.DeadlineExceeded):
		return status{command.CodeTimeout, "the engine did not answer in time"}
	}
	s.log.Warn("language engine failed", "app", call.App.SDKAppID, "command", call.Name, "request", call.RequestID, "err", err)
	return status{codeFailed, "the engine failed, request " + call.RequestID}
}
