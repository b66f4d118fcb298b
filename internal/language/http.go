package language

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"imserver/internal/config"
)

// maxAnswer bounds what is read of an engine's answer, bytes.
const maxAnswer = 1 << 20

// HTTP is an engine behind HTTP. It posts {"texts":[…],"source","target"} and
// expects {"texts":[…]}, or posts {"url","format","engine"} and expects
// {"text"}; the configured token goes as a bearer token.
type HTTP struct {
	Client *http.Client
}

// Translate implements Engine.
func (h HTTP) Translate(ctx context.Context, at config.Service, t Translation) ([]string, error) {
	in := struct {
		Texts  []string `json:"texts"`
		Source string   `json:"source"`
		Target string   `json:"target"`
	}{t.Texts, t.Source, t.Target}
	var out struct {
		Texts []string `json:"texts"`
	}
	err := h.post(ctx, at, in, &out)
	return out.Texts, err
}

// Recognize implements Engine.
func (h HTTP) Recognize(ctx context.Context, at config.Service, r Recording) (string, error) {
	in := struct {
		URL    string `json:"url"`
		Format string `json:"format"`
		Engine string `json:"engine"`
	}{r.URL, r.Format, r.Engine}
	var out struct {
		Text string `json:"text"`
	}
	err := h.post(ctx, at, in, &out)
	return out.Text, err
}

func (h HTTP) post(ctx context.Context, at config.Service, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, at.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if at.Token != "" {
		req.Header.Set("Authorization", "Bearer "+at.Token)
	}
	res, err := h.Client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(out)
}
