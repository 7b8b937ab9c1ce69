package server

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"hoy/lib/fault"
)

// refuseBrowser keeps web pages from using an engine that their reader's browser reaches:
// a page of anybody may have it send requests to 127.0.0.1, or to a name that means the
// page's own server first and 127.0.0.1 later. The engine has no pages, so all that a
// browser may send is what its user has typed, or followed from the engine itself. Other
// programs send none of these headers, and a browser reaches no unix socket.
func refuseBrowser(r *http.Request) error {
	if to, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr); to == nil || to.Network() != "tcp" {
		return nil
	}
	origin, site := r.Header.Get("Origin"), r.Header.Get("Sec-Fetch-Site")
	switch {
	case site == "cross-site" || site == "same-site" || origin != "" && !originIs(origin, r.Host):
		return fault.New(fault.Forbidden, "this request is of a web page (%s), which may not use the engine", origin)
	case (origin != "" || site != "" || r.Header.Get("Accept-Language") != "") && r.TLS == nil && !isAddress(r.Host):
		return fault.New(fault.Forbidden, "a browser may ask the engine by its address or as localhost only, not as %s, which may be a web page's name", r.Host)
	}
	return nil
}

// originIs reports whether a page comes from host.
func originIs(origin, host string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, host)
}

// isAddress reports whether no name server decides where a Host header leads to.
func isAddress(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || strings.EqualFold(host, "localhost")
}
