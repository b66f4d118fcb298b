package session

import (
	"context"
	"encoding/json"

	"imserver/internal/command"
)

// RegisterCloud adds the configuration commands and the SDKs' reports
// (protocol 01 §10, §14).
func RegisterCloud(t *command.Table) {
	command.Handle(t, "im_sdk_config_mgr.fetch_config", command.Users|command.Anonymous|command.Stale, fetchConfig)
	command.Handle(t, "im_sdk_config_mgr.fetch_imsdk_purchase_bitsv2", command.Users|command.Anonymous|command.Stale, fetchBits)
	command.Handle(t, "imopenstat.tim_web_report_v2", command.Users|command.Anonymous|command.Stale, report)
}

// cloudVersion only has to be 1 or more and stay while the configuration
// does: a client that has it already asks with it (protocol 01 §10, T12).
const cloudVersion = 1

// configLife and bitsLife are how long clients keep the answers, seconds.
const (
	configLife = 3600
	bitsLife   = 86400
)

// The configuration service names the envelope in its own way (protocol 01 §5).
type cloudAnswer struct {
	Code    int    `json:"int32_error_code"`
	Message string `json:"str_error_message"`
	Config  string `json:"str_json_config"`
	Version int    `json:"uint64_version"`
	Expires int    `json:"uint32_expired_time"`
	App     uint32 `json:"uint32_sdkappid"`
}

func fetchConfig(_ context.Context, call *command.Call, _ *command.Empty) (command.Raw, error) {
	values := call.App.CloudConfig
	if values == nil {
		values = map[string]string{}
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return marshalRaw(cloudAnswer{Config: string(text), Version: cloudVersion, Expires: configLife, App: call.App.SDKAppID})
}

type bits struct {
	Code    int    `json:"int32_error_code"`
	Message string `json:"str_error_message"`
	Bits    string `json:"str_purchase_bits"`
	Expires int    `json:"uint32_expired_time"`
}

// bitsAnswer repeats itself under "body": the lite SDK looks there and would
// otherwise ask every second for ever (protocol 01 §10).
type bitsAnswer struct {
	bits
	Body bits `json:"body"`
}

func fetchBits(context.Context, *command.Call, *command.Empty) (command.Raw, error) {
	b := bits{Bits: Capabilities, Expires: bitsLife}
	return marshalRaw(bitsAnswer{b, b})
}

func marshalRaw(v any) (command.Raw, error) {
	b, err := json.Marshal(v)
	return b, err
}

// report takes the SDKs' log and quality uploads, which nobody reads here; a
// failure would make them queue and try again (protocol 01 §14).
func report(context.Context, *command.Call, *command.Empty) (command.Empty, error) {
	return command.Empty{}, nil
}
