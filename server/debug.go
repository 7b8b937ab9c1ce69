package server

import (
	"expvar"
	"net/http"
	"net/http/pprof"

	"hoy/lib/fault"
)

// debugging answers by a handler of Go's own while the engine debugs; otherwise the
// page is not there.
func debugging(h http.Handler) func(*request) response {
	return func(r *request) response {
		if r.server.Debug == nil || !r.server.Debug() {
			return failure{fault.New(fault.NotFound, "page not found")}
		}
		return streamed(func(r *request) error {
			r.started = true
			h.ServeHTTP(r.w, r.Request)
			return nil
		})
	}
}

func debugVars(r *request) response    { return debugging(expvar.Handler())(r) }
func debugIndex(r *request) response   { return debugging(http.HandlerFunc(pprof.Index))(r) }
func debugCmdline(r *request) response { return debugging(http.HandlerFunc(pprof.Cmdline))(r) }
func debugCPU(r *request) response     { return debugging(http.HandlerFunc(pprof.Profile))(r) }
func debugSymbol(r *request) response  { return debugging(http.HandlerFunc(pprof.Symbol))(r) }
func debugTrace(r *request) response   { return debugging(http.HandlerFunc(pprof.Trace))(r) }

// debugProfile answers with one of the run time's profiles, like heap or goroutine.
func debugProfile(r *request) response { return debugging(pprof.Handler(r.vars[0]))(r) }
