package image

import (
	"fmt"
	"time"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image is what the store knows of one image, for one platform. It is shared by
// all callers: nobody writes to it.
type Image struct {
	// ID is the digest of Target, as docker reports it when its image store is
	// containerd's: the digest of the index or manifest, not of the configuration.
	ID     string
	Target ocispec.Descriptor
	// Manifest and ConfigDigest belong to the platform chosen: this machine's, else
	// the first one whose content is here.
	Manifest     ocispec.Descriptor
	ConfigDigest digest.Digest
	Config       dockerspec.DockerOCIImage

	RepoTags    []string // familiar names, "busybox:latest"; none: a dangling image
	RepoDigests []string // "busybox@sha256:…"

	Layers  []string // directories of the unpacked layers, top first; empty when not unpacked
	ChainID string   // names the top layer; what a container's record pins

	Size        int64  // bytes: blobs and unpacked layers
	Unpacked    int64  // bytes: unpacked layers alone
	Parent      string // ID of the image that this one was committed on, "" when it was not
	Created     time.Time
	LastTagTime time.Time

	config ocispec.Descriptor
	blobs  []ocispec.Descriptor // the layers' blobs, bottom first
	sizes  []int64              // bytes of the unpacked layers, bottom first
}

// User is a container made from an image.
type User struct {
	Container string // its full ID
	Running   bool
}

// Loaded is one image that Load has brought in.
type Loaded struct {
	Name  string // familiar name with tag; "" when the archive gives it none
	Image *Image
	// NotRunnable says why no container can be made of it; nil: one can.
	NotRunnable error
}

// String is the line that docker prints for it, and what docker says in one of its own.
func (l Loaded) String() string {
	line := "Loaded image: " + l.Name
	if l.Name == "" {
		line = "Loaded image ID: " + l.Image.ID
	}
	if l.NotRunnable != nil {
		line += fmt.Sprintf(" (it can be saved and pushed, not run: %s)", l.NotRunnable)
	}
	return line
}
