package clientip_test

import (
	"net/http"
	"net/netip"
	"testing"

	"imserver/internal/clientip"
)

func TestOf(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	for name, tt := range map[string]struct{ peer, forwarded, want string }{
		"Direct":        {"203.0.113.9:1", "", "203.0.113.9"},
		"Forged":        {"203.0.113.9:1", "198.51.100.1", "203.0.113.9"},
		"Proxy":         {"10.0.0.1:1", "198.51.100.1", "198.51.100.1"},
		"TwoProxies":    {"10.0.0.1:1", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		"ForgedByProxy": {"10.0.0.1:1", "1.1.1.1, 198.51.100.1", "198.51.100.1"},
		"Garbage":       {"10.0.0.1:1", "nobody", "10.0.0.1"},
		"Mapped":        {"[::ffff:203.0.113.9]:1", "", "203.0.113.9"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
			if tt.forwarded != "" {
				r.Header.Set("X-Forwarded-For", tt.forwarded)
			}
			if got := clientip.Of(r, trusted); got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAllowed(t *testing.T) {
	list := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	if !clientip.Allowed(netip.MustParseAddr("127.0.0.1"), list) || clientip.Allowed(netip.MustParseAddr("192.0.2.1"), list) ||
		!clientip.Allowed(netip.MustParseAddr("192.0.2.1"), nil) || clientip.Allowed(netip.Addr{}, list) {
		t.Error("the list is not kept")
	}
}
