package progress

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"hoy/lib/buildlog"
)

// buildJSON prints records as BuildKit's rawjson has them, a line each. Their digests are
// names for the steps of this build: the engine tells no others. Times are when we heard.
type buildJSON struct {
	out   *json.Encoder
	now   func() time.Time
	began map[int]time.Time
}

type statusJSON struct {
	Vertexes []vertexJSON   `json:"vertexes,omitempty"`
	Statuses []transferJSON `json:"statuses,omitempty"`
	Logs     []logJSON      `json:"logs,omitempty"`
	Warnings []warningJSON  `json:"warnings,omitempty"`
}

type vertexJSON struct {
	Digest    string     `json:"digest"`
	Name      string     `json:"name,omitempty"`
	Started   *time.Time `json:"started,omitempty"`
	Completed *time.Time `json:"completed,omitempty"`
	Cached    bool       `json:"cached,omitempty"`
	Error     string     `json:"error,omitempty"`
}

type transferJSON struct {
	ID        string     `json:"id"`
	Vertex    string     `json:"vertex,omitempty"`
	Name      string     `json:"name,omitempty"`
	Total     int64      `json:"total,omitempty"`
	Current   int64      `json:"current"`
	Timestamp time.Time  `json:"timestamp"`
	Completed *time.Time `json:"completed,omitempty"`
}

type logJSON struct {
	Vertex    string    `json:"vertex,omitempty"`
	Stream    int       `json:"stream,omitempty"`
	Data      []byte    `json:"data"`
	Timestamp time.Time `json:"timestamp"`
}

type warningJSON struct {
	Vertex string   `json:"vertex,omitempty"`
	Short  []byte   `json:"short,omitempty"`
	Detail [][]byte `json:"detail,omitempty"`
	URL    string   `json:"url,omitempty"`
}

// stepDigest names a step.
func stepDigest(number int) string {
	if number == 0 {
		return ""
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(fmt.Append(nil, "step ", number)))
}

func (j *buildJSON) show(e *buildlog.Event, s *step) error {
	now := j.now()
	var r statusJSON
	switch {
	case e.Step != nil:
		r.Vertexes = []vertexJSON{j.vertex(e.Step, now)}
	case e.Transfer != nil:
		t := transferJSON{ID: e.Transfer.Name, Name: e.Transfer.Name, Vertex: stepDigest(s.number), Current: e.Transfer.Current, Total: e.Transfer.Total, Timestamp: now}
		if e.Transfer.Done {
			t.Completed = &now
		}
		r.Statuses = []transferJSON{t}
	case e.Log != nil:
		r.Logs = []logJSON{{stepDigest(s.number), e.Log.Stream, e.Log.Data, now}}
	case e.Warning != nil:
		w := warningJSON{Vertex: stepDigest(e.Warning.Step), Short: []byte(WarningText(e.Warning)), URL: e.Warning.URL}
		for _, d := range e.Warning.Detail {
			w.Detail = append(w.Detail, []byte(d))
		}
		r.Warnings = []warningJSON{w}
	default:
		return nil
	}
	return j.out.Encode(r)
}

func (j *buildJSON) vertex(e *buildlog.Step, now time.Time) vertexJSON {
	v := vertexJSON{Digest: stepDigest(e.Number), Name: e.Name, Cached: e.State == buildlog.Cached, Error: e.Error}
	began, ok := j.began[e.Number]
	if !ok || e.State == buildlog.Started {
		began = now
		j.began[e.Number] = now
	}
	v.Started = &began
	if e.State != buildlog.Started {
		v.Completed = &now
	}
	return v
}

func (j *buildJSON) close() error { return nil }
