package failpoint

// The points, in the order in which a container's life reaches them. A point is
// named process.operation.place; the place says what has just happened.
const (
	ContainerCreateLayer   Point = "engine.create.layer"     // writable layer made, no record yet
	ContainerCreateRecord  Point = "engine.create.record"    // record saved, not answered
	ContainerStartNetwork  Point = "engine.start.network"    // network attached
	ContainerStartPrepared Point = "engine.start.prepared"   // cgroup, mounts and plan ready
	ContainerStartSpawned  Point = "engine.start.spawned"    // keeper answered, state not saved
	ContainerExit          Point = "engine.exit.received"    // exit known, not yet recorded
	ContainerStopSignalled Point = "engine.stop.signalled"   // stop signal sent, still waiting
	ContainerLimited       Point = "engine.update.limited"   // limits set, not yet recorded
	ContainerMoved         Point = "engine.network.moved"    // on another network, or other ports, not yet recorded
	ContainerRemoveLayer   Point = "engine.remove.layer"     // writable layer gone, record still there
	ContainerForgotten     Point = "engine.remove.forgotten" // of a --rm container: answered, files still there
	ContainerExecPrepared  Point = "engine.exec.prepared"    // plan ready, not sent
	ImageCommitLayer       Point = "engine.commit.layer"     // layer stored, no image yet
	ImageFetchBegun        Point = "engine.fetch.begun"      // file made, nothing fetched
	ImageFetchSome         Point = "engine.fetch.some"       // some bytes of a blob written
	ImageFetchChecked      Point = "engine.fetch.checked"    // blob complete and checked, not in the content store
	ImageFetchLinked       Point = "engine.fetch.linked"     // blob in the content store, no record of it
	ImagePullLayers        Point = "engine.pull.layers"      // layers unpacked and committed, no name
	KeeperSpawnReceived    Point = "keeper.spawn.received"   // request read, nothing done
	KeeperSpawnState       Point = "keeper.spawn.state"      // state file written, child not cloned
	KeeperSpawnCloned      Point = "keeper.spawn.cloned"     // child runs, engine not told
	KeeperLogWritten       Point = "keeper.log.written"      // bytes in the log, still in the pipe
	KeeperExitReaped       Point = "keeper.exit.reaped"      // child reaped, exit record not written
	KeeperExitRecorded     Point = "keeper.exit.recorded"    // exit record written, engine not told
	KeeperUpgradeReady     Point = "keeper.upgrade.ready"    // everything collected, new program not yet executed
	KeeperUpgradeResumed   Point = "keeper.upgrade.resumed"  // new program has taken over, does not answer yet
)

// Those of the image store.
const (
	StoreLoadStored     Point = "store.load.stored"     // an archive's blobs stored, nothing unpacked
	StoreLayersPlaced   Point = "store.layers.placed"   // layers moved to their place, not committed
	StoreLayersDone     Point = "store.layers.done"     // layers committed, no image yet
	StoreNamed          Point = "store.name.set"        // name leads to the new image, old ones not cleared
	StoreUntagged       Point = "store.remove.untagged" // name gone, content there
	StoreCollectMarking Point = "store.collect.marking" // a collection begins to mark
	StoreCollectMarked  Point = "store.collect.marked"  // records gone, files being deleted
	StoreCollected      Point = "store.collect.done"    // files gone
)

// Store lists the image store's points.
var Store = []Point{
	StoreLoadStored, StoreLayersPlaced, StoreLayersDone, StoreNamed, StoreUntagged,
	StoreCollectMarking, StoreCollectMarked, StoreCollected,
}

// Those of networks.
const (
	NetworkPlanned      Point = "network.create.recorded"        // network recorded, nothing in the kernel
	NetworkUp           Point = "network.create.up"              // bridge made, no rules
	NetworkRuled        Point = "network.create.ruled"           // rules written
	NetworkRestored     Point = "network.open.up"                // link of a network that there was, or of the default one, made
	NetworkDown         Point = "network.remove.down"            // bridge and rules gone, record there
	NetworkAddressed    Point = "network.attach.addressed"       // addresses taken, no link
	NetworkLinked       Point = "network.attach.linked"          // link made
	NetworkSilenced     Point = "network.attach.silenced"        // link made, IPv6 is not turned off on it
	NetworkNamed        Point = "network.attach.named"           // names told to the keeper
	NetworkRouted       Point = "network.connect.routed"         // default route moved
	NetworkReserved     Point = "network.publish.reserved"       // ports of the host reserved
	NetworkHeld         Point = "network.publish.held"           // the keeper holds them
	NetworkForwarded    Point = "network.publish.forwarded"      // the rules forward them
	NetworkUnlinked     Point = "network.disconnect.unlinked"    // link gone, addresses not given back
	NetworkUnpublished  Point = "network.detach.unpublished"     // rules gone, the keeper holds the ports
	NetworkDisconnected Point = "network.disconnect.republished" // ports and routes changed, link there
)

// Network lists the points of networks.
var Network = []Point{
	NetworkRestored, NetworkPlanned, NetworkUp, NetworkRuled, NetworkDown, NetworkAddressed, NetworkLinked, NetworkSilenced, NetworkNamed, NetworkRouted,
	NetworkReserved, NetworkHeld, NetworkForwarded, NetworkUnlinked, NetworkUnpublished, NetworkDisconnected,
}

// Those of volumes.
const (
	VolumeMade         Point = "volume.create.made"       // complete, under a hidden name
	VolumeNamed        Point = "volume.create.named"      // there, not answered
	VolumeFilling      Point = "volume.fill.begun"        // a clone or an import has begun to be filled
	VolumeFilled       Point = "volume.fill.done"         // all its files are there, under a hidden name
	VolumeRecordMoved  Point = "volume.rename.record"     // the record has the new name, the directory the old
	VolumeRenamed      Point = "volume.rename.done"       // the directory has the new name, not answered
	VolumeTrashed      Point = "volume.remove.trashed"    // gone, its files are being deleted
	VolumePopulateMark Point = "volume.populate.marked"   // nothing copied from the image yet
	VolumePopulated    Point = "volume.populate.complete" // all copied, the mark is there
)

// Volume lists the points of volumes.
var Volume = []Point{VolumeMade, VolumeNamed, VolumeFilling, VolumeFilled, VolumeRecordMoved, VolumeRenamed, VolumeTrashed, VolumePopulateMark, VolumePopulated}

// All lists the points of a container's life.
var All = []Point{
	ContainerCreateLayer, ContainerCreateRecord, ContainerStartNetwork, ContainerStartPrepared,
	ContainerStartSpawned, ContainerExit, ContainerStopSignalled, ContainerRemoveLayer,
	ContainerForgotten, ContainerExecPrepared,
	ImageCommitLayer, ImageFetchBegun, ImageFetchSome, ImageFetchChecked, ImageFetchLinked, ImagePullLayers,
	KeeperSpawnReceived, KeeperSpawnState, KeeperSpawnCloned, KeeperLogWritten, KeeperExitReaped, KeeperExitRecorded,
	KeeperUpgradeReady, KeeperUpgradeResumed,
}
