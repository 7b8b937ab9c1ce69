package server

import (
	"encoding/json"
	"net/http"
	"strings"
)

// response is what a handler returns.
type response interface {
	write(r *request)
}

// answer sends the response.
func (r *request) answer(resp response) {
	if resp != nil {
		resp.write(r)
	}
}

// begin sends the status line and headers. From then on no other answer is possible.
func (r *request) begin(status int, contentType string) {
	if contentType != "" {
		r.w.Header().Set("Content-Type", contentType)
	}
	r.started = true
	r.w.WriteHeader(status)
}

// jsonBody answers with a value.
type jsonBody struct {
	status int
	value  any
}

func (j jsonBody) write(r *request) {
	r.begin(j.status, "application/json")
	e := json.NewEncoder(r.w)
	e.SetEscapeHTML(false)
	if err := e.Encode(j.value); err != nil && r.Context().Err() == nil {
		r.server.Log.Error("cannot encode an answer", "method", r.Method, "path", r.URL.Path, "error", err)
	}
}

// ok answers 200 with a value.
func ok(value any) response { return jsonBody{http.StatusOK, value} }

// created answers 201 with a value.
func created(value any) response { return jsonBody{http.StatusCreated, value} }

// empty answers with a status alone.
type empty int

func (e empty) write(r *request) { r.begin(int(e), "") }

// failure answers with an error.
type failure struct{ err error }

func (f failure) write(r *request) {
	status, text := statusOf(f.err), shortened(f.err.Error())
	// A client whose side of the connection is closed has gone, as nearly all have, or has
	// only said that it sends no more, as socat does: it is answered, but nothing is logged.
	gone := r.Context().Err() != nil
	if !gone && status >= http.StatusInternalServerError && status != http.StatusNotImplemented {
		r.server.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "status", status, "error", text)
	}
	switch {
	case r.started && gone:
	case r.started:
		// The head of the answer is gone: say it where a person sees it.
		r.server.Log.Error("answer broke off", "method", r.Method, "path", r.URL.Path, "error", text)
	case status == http.StatusNotModified:
		r.begin(status, "")
	case r.ancient:
		r.started = true
		http.Error(r.w, text, status)
	default:
		jsonBody{status, errorBody{text}}.write(r)
	}
}

// shortened leaves out the middle of a message that nobody could read: it repeats what the
// client has sent, which may be long.
func shortened(text string) string {
	const head, tail = 3 << 10, 1 << 10
	if len(text) <= head+tail {
		return text
	}
	return strings.ToValidUTF8(text[:head], "") + " […] " + strings.ToValidUTF8(text[len(text)-tail:], "")
}

// errorBody is the form of every error.
type errorBody struct {
	Message string `json:"message"`
}

// result answers 200 with the value, or the error.
func result(value any, err error) response {
	if err != nil {
		return failure{err}
	}
	return ok(value)
}

// done answers with the status when there is no error.
func done(status int, err error) response {
	if err != nil {
		return failure{err}
	}
	return empty(status)
}

// streamed is an answer that a function writes bit by bit. An error before the
// first byte becomes an ordinary one.
type streamed func(r *request) error

func (s streamed) write(r *request) {
	if err := s(r); err != nil {
		failure{err}.write(r)
	}
}
