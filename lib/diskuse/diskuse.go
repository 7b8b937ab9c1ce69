// Package diskuse is the engine's account of every byte below its data root: what GET
// /hoy/disk answers.
package diskuse

// Report is the account. Sizes are bytes of disk blocks, a file with several names
// counted once, as du(1) counts them.
type Report struct {
	Root        string
	Size        int64 // all lines together
	Reclaimable int64
	Free        int64 // what the file system has left for the engine
	Budget      int64 `json:",omitempty"` // of hoyd --disk-budget, for image blobs and layers; 0: none
	Lines       []Line
}

// Line is one kind of things.
type Line struct {
	Kind        Kind
	Count       int64 // of things of this kind
	Size        int64
	Reclaimable int64
	Remedy      string `json:",omitempty"` // what frees it
}

// Kind is what something below the data root is.
type Kind string

// The kinds, in the order of a report.
const (
	Blobs      Kind = "Image blobs"
	Layers     Kind = "Image layers"
	BuildCache Kind = "Build cache"
	Partial    Kind = "Unfinished pulls"
	Staging    Kind = "Unfinished layers"
	Writable   Kind = "Container layers"
	Logs       Kind = "Container logs"
	Volumes    Kind = "Volumes"
	Databases  Kind = "Records"
	Unowned    Kind = "Being removed"
	OtherFiles Kind = "Other files"
)

// Kinds lists all.
var Kinds = []Kind{Blobs, Layers, BuildCache, Partial, Staging, Writable, Logs, Volumes, Databases, Unowned, OtherFiles}

// Remedies say what frees the reclaimable part of a kind.
var Remedies = map[Kind]string{
	Blobs: "image prune -a", Layers: "image prune -a", BuildCache: "builder prune -a", Writable: "container prune", Logs: "container prune",
	Volumes: "volume prune -a", Partial: "pull again", Unowned: "goes by itself",
}
