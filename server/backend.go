package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/distribution/reference"
	apibuild "github.com/moby/moby/api/types/build"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"
	apiimage "github.com/moby/moby/api/types/image"
	"github.com/moby/moby/api/types/jsonstream"
	apinetwork "github.com/moby/moby/api/types/network"
	apiregistry "github.com/moby/moby/api/types/registry"
	"github.com/moby/moby/api/types/system"
	apivolume "github.com/moby/moby/api/types/volume"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"hoy/build"
	"hoy/container"
	"hoy/lib/diskuse"
	"hoy/lib/filters"
	"hoy/lib/reach"
)

// Containers is what the server needs for containers and execs. A ref is a
// name, an id or the beginning of one.
type Containers interface {
	Create(ctx context.Context, r container.CreateRequest) (apicontainer.CreateResponse, error)
	Start(ctx context.Context, ref string) error
	Stop(ctx context.Context, ref, signal string, timeout *int) error
	Restart(ctx context.Context, ref, signal string, timeout *int) error
	Kill(ctx context.Context, ref, signal string) error
	Pause(ctx context.Context, ref string) error
	Unpause(ctx context.Context, ref string) error
	Rename(ctx context.Context, ref, name string) error
	Prune(ctx context.Context, f filters.Filters) (*apicontainer.PruneReport, error)
	Top(ctx context.Context, ref, psOptions string) (*apicontainer.TopResponse, error)
	Stats(ctx context.Context, ref string, o container.StatsOptions, send func(*apicontainer.StatsResponse) error) error
	Update(ctx context.Context, ref string, h *apicontainer.HostConfig) (apicontainer.UpdateResponse, error)
	Publish(ctx context.Context, ref string, add, remove apinetwork.PortMap) error
	Remove(ctx context.Context, ref string, o container.RemoveOptions) error
	// Wait has registered the waiter when it returns.
	Wait(ctx context.Context, ref string, c apicontainer.WaitCondition) (<-chan apicontainer.WaitResponse, error)
	List(ctx context.Context, o container.ListOptions) ([]apicontainer.Summary, error)
	Inspect(ctx context.Context, ref string, size bool) (*apicontainer.InspectResponse, error)
	// LogDelivery is nil where the log is not sent anywhere.
	LogDelivery(id string) *container.LogDelivery
	AskedMAC(id string) string
	Logs(ctx context.Context, ref string, o container.LogOptions, w container.LogSink) error
	Attach(ctx context.Context, ref string, o container.AttachOptions, hijack container.Hijack) error
	Resize(ctx context.Context, ref string, rows, cols uint16) error

	Changes(ctx context.Context, ref string) ([]apicontainer.FilesystemChange, error)
	StatPath(ctx context.Context, ref, path string) (*apicontainer.PathStat, error)
	// Archive and Export give archives that are not read yet, to be closed.
	Archive(ctx context.Context, ref, path string) (*container.Archive, error)
	Export(ctx context.Context, ref string) (*container.Archive, error)
	// Commit makes an image of a container and returns its id.
	Commit(ctx context.Context, r container.CommitRequest) (string, error)
	Extract(ctx context.Context, ref string, o container.ExtractOptions, archive io.Reader) error

	ExecCreate(ctx context.Context, ref string, c apicontainer.ExecCreateRequest) (string, error)
	// ExecStart tells in the stream itself what fails after hijack was called:
	// docker's clients do not show the body of a refused upgrade.
	ExecStart(ctx context.Context, id string, o container.ExecStartOptions, hijack container.Hijack) error
	ExecInspect(ctx context.Context, id string) (*apicontainer.ExecInspectResponse, error)
	ExecResize(ctx context.Context, id string, rows, cols uint16) error
}

// Images is what the server needs for images.
type Images interface {
	List(ctx context.Context, o ImageListOptions) ([]apiimage.Summary, error)
	Inspect(ctx context.Context, ref string, o ImageInspectOptions) (*ImageDetails, error)
	History(ctx context.Context, ref string, platform *ocispec.Platform) ([]apiimage.HistoryResponseItem, error)
	Attestations(ctx context.Context, ref string, o AttestationOptions) ([]apiimage.AttestationStatement, error)
	// Save writes an archive; an error before its first byte is an ordinary one.
	Save(ctx context.Context, refs []string, platforms []ocispec.Platform, w io.Writer) error
	Prune(ctx context.Context, f filters.Filters) (*apiimage.PruneReport, error)
	Remove(ctx context.Context, ref string, o ImageRemoveOptions) ([]apiimage.DeleteResponse, error)
	// Load reads an archive; every image it finds is told to progress.
	Load(ctx context.Context, r io.Reader, o ImageLoadOptions, progress Progress) error
	// Import makes an image of a root file system archive and returns its id.
	Import(ctx context.Context, r io.Reader, o ImageImportOptions) (string, error)
	Tag(ctx context.Context, ref, newRef string) error
	// Pull and Push tell all of a repository's images from one by the tag or digest.
	Pull(ctx context.Context, named reference.Named, o ImageTransferOptions, progress Progress) error
	Push(ctx context.Context, named reference.Named, o ImageTransferOptions, progress Progress) error
}

// ImageTransferOptions say how an image comes from a registry, or goes there.
type ImageTransferOptions struct {
	Platform *ocispec.Platform // nil: with a pull this machine's, with a push all that are here
	Auth     apiregistry.AuthConfig
	Meta     http.Header // X-Meta-*: what the client has for the registry
}

// Progress receives what a long operation has to say, to be shown to a person.
type Progress func(jsonstream.Message)

// ImageListOptions chooses and shapes the images of a list.
type ImageListOptions struct {
	All        bool // also intermediate ones
	SharedSize bool // compute what images share
	Manifests  bool // show the manifests of each platform
	Filters    filters.Filters
}

// ImageDetails describe an image, with what the API's type no longer has.
type ImageDetails struct {
	apiimage.InspectResponse
	Parent string `json:",omitempty"` // ID of the image that it was made of, by commit or a classic build
}

// ImageInspectOptions says what to tell of an image.
type ImageInspectOptions struct {
	Platform  *ocispec.Platform // nil: the one that containers get
	Manifests bool              // also those of each platform
}

// AttestationOptions chooses among an image's attestations.
type AttestationOptions struct {
	Platform   *ocispec.Platform // nil: the one that containers get
	Types      []string          // predicate types; empty = all
	Statements bool              // with their text
}

// ImageRemoveOptions says how an image is removed.
type ImageRemoveOptions struct {
	Force         bool // although stopped containers use it, or it has several names
	PruneChildren bool // untagged parents too
	Platforms     []ocispec.Platform
}

// ImageLoadOptions says what to take from an archive.
type ImageLoadOptions struct {
	Quiet     bool               // no progress but the result
	Platforms []ocispec.Platform // empty = all
}

// ImageImportOptions describes an image made of a root file system.
type ImageImportOptions struct {
	Ref      string   // name[:tag]; "" = none
	Message  string   // the history's comment
	Changes  []string // Dockerfile instructions
	Platform *ocispec.Platform
}

// Builds is what the server needs to build images, of a *build.Builder.
type Builds interface {
	// Build ends with ctx, and when the build of r.ID is cancelled.
	Build(ctx context.Context, r build.Request) (*build.Result, error)
	// Classic builds as docker's engine did before BuildKit, step by step.
	Classic(ctx context.Context, r build.Request, c build.Classic) (*build.Result, error)
	// Inspect answers a question about the Dockerfile: lint, outline or targets.
	Inspect(ctx context.Context, r build.Request, method string) (*build.Result, error)
	// Upload gives the build of the id its context, and returns when that is read.
	Upload(ctx context.Context, id string, context io.Reader) error
	Cancel(id string)

	Prune(ctx context.Context, o build.PruneOptions) (*apibuild.CachePruneReport, error)
	DiskUsage(ctx context.Context, items bool) (*apibuild.DiskUsage, error)

	// ServeControl and ServeSession speak HTTP/2 on a connection until it ends: as
	// BuildKit's server, and as the caller of a client that offers services by the header.
	ServeControl(ctx context.Context, conn net.Conn) error
	ServeSession(ctx context.Context, conn net.Conn, header map[string][]string) error
	// ServeHTTP answers one call of BuildKit.
	ServeHTTP(w http.ResponseWriter, r *http.Request)
}

// Volumes is what the server needs for volumes.
type Volumes interface {
	Create(ctx context.Context, r apivolume.CreateRequest) (*apivolume.Volume, error)
	List(ctx context.Context, f filters.Filters) (apivolume.ListResponse, error)
	Inspect(ctx context.Context, name string) (*apivolume.Volume, error)
	Prune(ctx context.Context, f filters.Filters) (*apivolume.PruneReport, error)
	Remove(ctx context.Context, name string, force bool) error
	// Clone makes the volume of the request with the files of another.
	Clone(ctx context.Context, name string, r apivolume.CreateRequest) (*apivolume.Volume, error)
	Rename(ctx context.Context, name, to string) error
	// Export writes a volume's files as a tar archive, Import makes one of such.
	Export(ctx context.Context, name string, w io.Writer) error
	Import(ctx context.Context, r apivolume.CreateRequest, archive io.Reader) (*apivolume.Volume, error)
}

// Networks is what the server needs for networks.
type Networks interface {
	List(ctx context.Context, f filters.Filters) ([]apinetwork.Summary, error)
	Inspect(ctx context.Context, ref string) (*apinetwork.Inspect, error)
	Create(ctx context.Context, r apinetwork.CreateRequest) (*apinetwork.CreateResponse, error)
	Remove(ctx context.Context, ref string) error
	Prune(ctx context.Context, f filters.Filters) (*apinetwork.PruneReport, error)
	Connect(ctx context.Context, ref string, r apinetwork.ConnectRequest) error
	Disconnect(ctx context.Context, ref string, r apinetwork.DisconnectRequest) error
	// Reach says of a container's published ports who can reach them.
	Reach(ctx context.Context, ref string) ([]reach.Port, error)
}

// Registries is what the server needs of registries.
type Registries interface {
	// Login has a registry check credentials. It returns a token to be kept in place of
	// the password, if the registry gives one.
	Login(ctx context.Context, a apiregistry.AuthConfig) (identityToken string, err error)
	Search(ctx context.Context, o SearchOptions) ([]apiregistry.SearchResult, error)
	// Inspect tells what a name stands for in its registry.
	Inspect(ctx context.Context, ref string, a apiregistry.AuthConfig) (*apiregistry.DistributionInspect, error)
	// Manifest fetches what a name stands for.
	Manifest(ctx context.Context, ref string, o ManifestOptions) (*Manifest, error)
	// PutManifest stores a manifest under a name's tag or digest, after the blobs of an
	// image that o.From has.
	PutManifest(ctx context.Context, ref string, m Manifest, o ManifestOptions) (*ocispec.Descriptor, error)
}

// SearchOptions say what to look for in a registry.
type SearchOptions struct {
	Term     string
	Limit    int   // 0: the engine's choice
	Official *bool // only those that are, or are not; nil: either
	Stars    int   // at least
	Auth     apiregistry.AuthConfig
}

// Migration takes over what other engines have.
type Migration interface {
	// Docker takes over what is in a data root of Docker, and in the containerd that it
	// uses; "": where that usually is.
	Docker(ctx context.Context, root, containerd string, say Progress) error
}

// System tells about the engine as a whole.
type System interface {
	Info(ctx context.Context) (*system.Info, error)
	Version(ctx context.Context) (system.VersionResponse, error)
	DiskUsage(ctx context.Context, o DiskUsageOptions) (*system.DiskUsage, error)
	// Disk accounts for every byte below the data root.
	Disk(ctx context.Context) (*diskuse.Report, error)
	// Events returns what happened since, and a channel of what happens until
	// ctx ends or until is reached; live is nil when until has passed.
	Events(ctx context.Context, since, until time.Time, f filters.Filters) (past []events.Message, live <-chan events.Message, err error)
}

// DiskUsageOptions says what is to be measured.
type DiskUsageOptions struct {
	Images, Containers, Volumes bool
	Items                       bool // each one, not the sums alone
}
