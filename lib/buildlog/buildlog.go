// Package buildlog is what the engine says while it builds for hoy's own command line,
// which knows neither BuildKit nor gRPC: the answer to POST /hoy/build.
//
// The request's parameters are those of POST /build that choose what is built:
//
//	dockerfile, t, remote, target, buildargs, labels, nocache, pull, cachefrom, platform,
//	networkmode, extrahosts, shmsize, ulimits, cgroupparent, memory, memswap, cpushares,
//	cpusetcpus, cpusetmems, cpuperiod, cpuquota, buildid, outputs; header X-Registry-Config
//
// where t, extrahosts and platform may be repeated, and outputs is a JSON list of any length
// of {"Type":…,"Attrs":{…}} of BuildKit's exporters. One that writes to a client (tar, oci,
// docker; local as a tar archive) does so by Chunk, numbered by its place in the list. These
// are hoy's own, and may all be repeated but the first:
//
//	method         lint, outline or targets: tells of the Dockerfile, builds nothing
//	nocachefilter  a stage to be built without cache
//	cacheto        type=…,key=value
//	attest         type=provenance|sbom,key=value
//	buildcontext   name=URL: docker-image://…, a git repository, an archive
//	allow          an entitlement: network.host, security.insecure
//
// The body is multipart/form-data of up to three kinds of parts, in this order:
//
//	secrets        JSON object: id to base64
//	context:NAME   a tar archive, which may be compressed: the build context of that name
//	context        a tar archive, which may be compressed, or a Dockerfile alone; absent with
//	               remote. It is read while the build goes on
//	files          in place of context: folders of which the engine fetches what it lacks by
//	               Wants, as package buildfiles tells. They are named context, context:NAME,
//	               and dockerfile, where the Dockerfile is; with remote that one alone may be
//
// What is wrong with the request is an ordinary error. Otherwise the answer is 200 and one
// JSON Event a line; the last one has Result or Error. A build ends with its connection.
package buildlog

import (
	"time"

	"hoy/lib/buildfiles"
)

// Event is one line. Exactly one of its fields is set.
type Event struct {
	Step     *Step     `json:",omitempty"`
	Transfer *Transfer `json:",omitempty"`
	Log      *Log      `json:",omitempty"`
	Warning  *Warning  `json:",omitempty"`
	Chunk    *Chunk    `json:",omitempty"`
	Result   *Result   `json:",omitempty"`
	Error    *Error    `json:",omitempty"`

	Wants []buildfiles.Want `json:",omitempty"`
}

// Step is told when a step begins and when it ends; of one whose result was there only the
// latter is. A step may begin again after its end, when a later one needs more of it.
type Step struct {
	Number   int    // from 1 on, in the order in which they are first told of
	Name     string // as BuildKit has it: "[build 2/3] RUN make"
	State    State
	Duration time.Duration `json:",omitempty"` // nanoseconds, all its runs together; not while it runs
	Error    string        `json:",omitempty"` // why it failed
}

// State is where a step is.
type State string

// The states. All but Started are ends.
const (
	Started  State = "started"
	Finished State = "finished"
	Cached   State = "cached" // the result was there
	Failed   State = "failed"
	Canceled State = "canceled" // because another one failed, or the build was canceled
)

// Transfer is how far something is that a step does: a layer that is fetched, files that
// come from the client, a blob that is exported.
type Transfer struct {
	Step    int    // its number
	Name    string // unique in its step
	Current int64  `json:",omitempty"` // bytes
	Total   int64  `json:",omitempty"` // bytes; 0: nobody knows, or it is not counted
	Done    bool   `json:",omitempty"`
}

// Log is output of a step: bytes as they came, not lines.
type Log struct {
	Step   int // its number
	Stream int // 1: standard output, 2: standard error
	Data   []byte
}

// Warning is about the Dockerfile. With the method lint they are the answer.
type Warning struct {
	Step    int      `json:",omitempty"` // its number; 0: of none
	Rule    string   `json:",omitempty"` // "StageNameCasing"; "": of no lint rule
	Message string   // one line
	Detail  []string `json:",omitempty"`
	URL     string   `json:",omitempty"` // where it is explained
	Place   *Place   `json:",omitempty"`
}

// Place is where in the Dockerfile something is.
type Place struct {
	File    string
	Line    int    // of its first, from 1 on
	Excerpt string // lines around it, with numbers and marks: for a person
}

// Chunk is a piece of an archive that an output writes.
type Chunk struct {
	Output int // its place in the request's list, from 0 on
	Data   []byte
	Last   bool `json:",omitempty"` // nothing follows; the archive is whole
}

// Result is the last event of a build that succeeded.
type Result struct {
	ImageID string            `json:",omitempty"` // digest; "": the output is no image of the store
	Attrs   map[string]string `json:",omitempty"` // what exporters tell: "containerimage.digest" and so on
	Text    string            `json:",omitempty"` // with a method: its answer, for a person
	Data    []byte            `json:",omitempty"` // with a method: its answer as JSON, as BuildKit forms it
}

// Error is the last event of a build that did not succeed.
type Error struct {
	Message string
	Step    int    `json:",omitempty"` // the number of the one that failed
	Code    int    `json:",omitempty"` // exit code of the step's command
	Place   *Place `json:",omitempty"`
}
