package rest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"imserver/internal/command"
	"imserver/internal/config"
	"imserver/internal/rest"
	"imserver/internal/usersig"
)

// FuzzDoor: every path, query and body gets status 200 and a JSON answer with
// a code, and nothing gets through without a ticket (protocol 06 T1).
func FuzzDoor(f *testing.F) {
	fix := newFixture()
	apps := func(id uint32) *config.App {
		if id == appID {
			return fix.app
		}
		return nil
	}
	door := rest.New(fix.opts, apps, fix.table, refuseAll{}, nil, time.Now, prometheus.NewRegistry(), slog.New(slog.DiscardHandler))
	for _, seed := range [][3]string{
		{"/v4/test/echo", "sdkappid=1400000001&identifier=administrator&usersig=x&random=1&contenttype=json", `{"Text":"a"}`},
		{"/v4/test/users_only", "sdkappid=1400000001", `{`}, {"/v4/", "", ""}, {"/v4/a/b/c", "sdkappid=x;y", "null"}, {"/v4//", "sdkappid=4294967296", "[]"}, {"/v4/%00/b", "%zz", "\xff"},
	} {
		f.Add(seed[0], seed[1], []byte(seed[2]))
	}
	f.Fuzz(func(t *testing.T, path, query string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL = &url.URL{Path: path, RawQuery: query}
		w := httptest.NewRecorder()
		door.ServeHTTP(w, r)
		text, _ := io.ReadAll(w.Result().Body) // of a buffer
		var answer struct {
			ErrorCode int
			ErrorInfo string
		}
		if err := json.Unmarshal(text, &answer); err != nil || w.Code != http.StatusOK || answer.ErrorCode == 0 || answer.ErrorInfo == "" {
			t.Fatalf("%q ? %q: %d %s", path, query, w.Code, text)
		}
	})
}

// refuseAll has no valid ticket.
type refuseAll struct{}

func (refuseAll) Ticket(context.Context, *config.App, string, string) (usersig.Ticket, error) {
	return usersig.Ticket{}, command.Err(70003, "")
}
