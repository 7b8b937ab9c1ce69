// Package build makes images of Dockerfiles: BuildKit's solver and front end in this
// process, on the engine's image store, with containers of our own as its steps.
//
//	request (POST /build, hoy build) --+
//	                                   +--> control.Controller --> worker --> executor: a step is a
//	buildx (POST /grpc, /session) -----+         |                    |       tied spawn of the keeper
//	                                             |                    +-----> image store: content, snapshots
//	                                   trace of the solve             +-----> exporter: a name in the store
//
// The data root holds what makes the next build quick; without it everything is built anew:
//
//	<root>/cache.db       results of steps by their inputs (bbolt)
//	<root>/metadata.db    the cache's records: what each snapshot is, and how it was used
//	<root>/history.db     builds of before
//	<root>/unsynced       while these are in use: see openRecords
//	<root>/mounts, tmp    what is mounted while something is built
//
// The snapshots and blobs of the cache are the image store's, kept there by leases of ours.
package build

import (
	"io"

	control "github.com/moby/buildkit/api/services/control"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/registry"

	"hoy/lib/buildfiles"
	"hoy/lib/filters"
)

// Request is one build.
type Request struct {
	// ID names the build for Cancel, and for a context that comes by a request of its
	// own; "": it cannot be cancelled but by its connection.
	ID string
	// Session is the id of a client's session, which gives files, secrets and
	// credentials; "": there is none.
	Session string
	// Context is a tar archive, which may be compressed, or a Dockerfile alone; nil:
	// the files come by Session, or from Remote.
	Context io.Reader
	// Remote is the URL of a git repository, an archive or a Dockerfile; client-session:
	// the files come by Session; upload-request: Context comes by Upload.
	Remote string
	// Contexts are those that a Dockerfile knows by name: the URL of an image
	// (docker-image://…), a git repository or an archive.
	Contexts map[string]string
	Archives map[string]io.Reader // such, as Context is
	// Files are folders of the client's: context in place of Context, context:NAME in
	// place of Archives, and dockerfile, where the Dockerfile is. nil: there are none.
	Files *buildfiles.Files

	Dockerfile string // path in the context; "": Dockerfile
	Target     string // stage; "": the last
	Tags       []string
	Args       map[string]*string // nil: the variable of this name is not set
	Labels     map[string]string
	Platforms  []string // as docker writes them; none: the machine's
	NoCache    bool
	NoCacheOf  []string          // stages
	Pull       bool              // ask the registry for images that are here
	CacheFrom  []string          // images, or BuildKit's type=…,key=value
	CacheTo    []string          // BuildKit's type=…,key=value
	Outputs    []Output          // none: an image in the store
	Attests    []string          // type=provenance|sbom,key=value
	Allow      []string          // entitlements: network.host, security.insecure
	Secrets    map[string][]byte // with Session it has them
	// Auth is by registry, as docker's config.json has it. Those of Session go before.
	Auth map[string]registry.AuthConfig

	Network      string   // of steps: default, host, none; "": default
	Hosts        []string // name:address, which may be host-gateway
	ShmSize      int64    // bytes; 0: 64 MiB
	Ulimits      []*container.Ulimit
	CgroupParent string
	Resources    container.Resources // limits of each step

	// Trace is told what goes on, one call at a time.
	Trace func(*control.StatusResponse)
}

// Output is where the result goes: type image, local, tar, oci, docker or registry, and
// the attributes that BuildKit knows for it.
type Output struct {
	Type  string
	Attrs map[string]string
	// W takes the archive of tar, oci and docker, and a tar archive for local; nil: the
	// session does.
	W io.Writer
}

// Result is what a build made.
type Result struct {
	ImageID string // digest; "": the output is no image of the store
	Attrs   map[string]string
}

// PruneOptions say what of the cache is removed. Sizes are bytes, 0: no limit.
type PruneOptions struct {
	All      bool  // also what is not shown, as copies of local files
	Reserved int64 // what is kept in any case
	MaxUsed  int64 // what the cache may have at most afterwards
	MinFree  int64 // what the file system is to have free
	Filters  filters.Filters
}
