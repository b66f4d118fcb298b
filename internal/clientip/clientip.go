// Package clientip tells who a request comes from, also behind proxies that
// are trusted to say so, and whether an address is on a list.
package clientip

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Of returns the address a request comes from: the connection's, or, when that
// is a trusted proxy, the last address in X-Forwarded-For that no trusted proxy
// has. The zero Addr means unknown.
func Of(r *http.Request, trusted []netip.Prefix) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	addr := parse(host)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && In(addr, trusted); i-- {
		next := parse(strings.TrimSpace(hops[i]))
		if !next.IsValid() {
			break
		}
		addr = next
	}
	return addr
}

func parse(s string) netip.Addr {
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

// In reports whether addr is in one of the prefixes.
func In(addr netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// Allowed reports whether addr may pass an allow-list; an empty list lets
// everybody pass.
func Allowed(addr netip.Addr, list []netip.Prefix) bool { return len(list) == 0 || In(addr, list) }
