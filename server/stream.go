package server

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/moby/moby/api/types"
	"github.com/moby/moby/api/types/jsonstream"
)

// flush sends what is written so far.
func (r *request) flush() error { return http.NewResponseController(r.w).Flush() }

// logSink writes a log as docker's clients read it: raw from a terminal,
// otherwise in frames of stdcopy's format:
//
//	byte 0     stream: 1 stdout, 2 stderr
//	bytes 1-3  zero
//	bytes 4-7  length of the payload, big endian
type logSink struct {
	r   *request
	raw bool
}

func frameHead(stream byte, length int) []byte {
	head := [8]byte{stream}
	binary.BigEndian.PutUint32(head[4:], uint32(length))
	return head[:]
}

func (s *logSink) Begin(tty bool) {
	s.raw = tty
	s.r.begin(http.StatusOK, s.r.streamType(tty))
	s.r.flush() // a client that follows a silent container sees that it is served
}

func (s *logSink) Write(stream byte, line []byte) error {
	if !s.raw {
		if _, err := s.r.w.Write(frameHead(stream, len(line))); err != nil {
			return err
		}
	}
	_, err := s.r.w.Write(line)
	return err
}

func (s *logSink) Flush() error { return s.r.flush() }

// jsonType chooses the media type of a stream of JSON values: the first that the
// client names, if we know it, else fallback.
func (r *request) jsonType(fallback string) string {
	for accepted := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		media, params, err := mime.ParseMediaType(accepted)
		if err != nil || params["q"] == "0" {
			continue
		}
		switch media {
		case types.MediaTypeJSONLines, types.MediaTypeNDJSON, types.MediaTypeJSONSequence:
			return media
		}
	}
	return fallback
}

// jsonStream writes values one by one, each on its line and sent at once.
type jsonStream struct {
	r        *request
	sequence bool // RFC 7464: a record separator before each
	progress bool // CR LF after each, as docker's engine ends messages of long operations
}

func (r *request) jsonStream(mediaType string) *jsonStream {
	r.begin(http.StatusOK, mediaType)
	return &jsonStream{r: r, sequence: mediaType == types.MediaTypeJSONSequence}
}

// write adds a value without sending it.
func (s *jsonStream) write(value any) error {
	if s.sequence {
		if _, err := io.WriteString(s.r.w, "\x1e"); err != nil {
			return err
		}
	}
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	end := "\n"
	if s.progress {
		end = "\r\n"
	}
	_, err = s.r.w.Write(append(text, end...))
	return err
}

func (s *jsonStream) send(value any) error {
	if err := s.write(value); err != nil {
		return err
	}
	return s.r.flush()
}

// progressLine is a message of a long operation, with the field that clients
// from before errorDetail read.
type progressLine struct {
	jsonstream.Message
	LegacyError string `json:"error,omitempty"`
}

// progress runs a long operation and sends what it says. An error before
// anything was said is an ordinary one, later it is the last line.
func progress(operation func(r *request, say Progress) error) response {
	return streamed(func(r *request) error {
		var out *jsonStream
		say := func(m jsonstream.Message) {
			if out == nil {
				out = r.jsonStream(types.MediaTypeJSON)
				out.progress = true
			}
			line := progressLine{Message: m}
			if m.Error != nil {
				line.LegacyError = m.Error.Message
			}
			out.send(line) // a client that is gone is noticed by the context
		}
		err := operation(r, say)
		if err == nil || out == nil {
			if err == nil && out == nil {
				r.begin(http.StatusOK, types.MediaTypeJSON)
			}
			return err
		}
		say(jsonstream.Message{Error: &jsonstream.Error{Code: statusOf(err), Message: err.Error()}})
		return nil
	})
}
