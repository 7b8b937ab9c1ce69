package server

import (
	"net/http"
	"strings"
)

// route is one line of the table.
type route struct {
	method, path string // {name} stands for anything, slashes included
	handle       func(*request) response
	since        version // 0: always
}

// routes is the whole API. Of two lines that fit a request the first answers.
func routes() []route {
	const (
		get  = http.MethodGet
		head = http.MethodHead
		post = http.MethodPost
		put  = http.MethodPut
		del  = http.MethodDelete
	)
	return []route{
		{get, "/_ping", ping, 0},
		{head, "/_ping", ping, 0},
		{get, "/info", info, 0},
		{get, "/version", engineVersion, 0},
		{get, "/events", eventStream, 0},
		{get, "/system/df", diskUsageReport, 0},
		{post, "/auth", login, 0},
		{http.MethodOptions, "/{any}", options, 0},
		{get, "/debug/vars", debugVars, 0},
		{get, "/debug/pprof/", debugIndex, 0},
		{get, "/debug/pprof/cmdline", debugCmdline, 0},
		{get, "/debug/pprof/profile", debugCPU, 0},
		{get, "/debug/pprof/symbol", debugSymbol, 0},
		{get, "/debug/pprof/trace", debugTrace, 0},
		{get, "/debug/pprof/{name}", debugProfile, 0},

		{get, "/containers/json", containerList, 0},
		{post, "/containers/create", containerCreate, 0},
		{post, "/containers/prune", containerPrune, 0},
		{get, "/containers/{id}/json", containerInspect, 0},
		{get, "/containers/{id}/top", containerTop, 0},
		{get, "/containers/{id}/logs", containerLogs, 0},
		{get, "/containers/{id}/changes", containerChanges, 0},
		{get, "/containers/{id}/export", containerExport, 0},
		{get, "/containers/{id}/stats", containerStats, 0},
		{get, "/containers/{id}/attach/ws", containerAttachWebsocket, 0},
		{head, "/containers/{id}/archive", archiveStat, 0},
		{get, "/containers/{id}/archive", archiveGet, 0},
		{put, "/containers/{id}/archive", archivePut, 0},
		{get, "/containers/{id}/checkpoints", absent("checkpoints"), 0},
		{post, "/containers/{id}/checkpoints", absent("checkpoints"), 0},
		{del, "/containers/{id}/checkpoints/{checkpoint}", absent("checkpoints"), 0},
		{post, "/containers/{id}/resize", containerResize, 0},
		{post, "/containers/{id}/start", containerStart, 0},
		{post, "/containers/{id}/stop", containerStop, 0},
		{post, "/containers/{id}/restart", containerRestart, 0},
		{post, "/containers/{id}/kill", containerKill, 0},
		{post, "/containers/{id}/update", containerUpdate, 0},
		{post, "/containers/{id}/rename", containerRename, 0},
		{post, "/containers/{id}/pause", containerPause, 0},
		{post, "/containers/{id}/unpause", containerUnpause, 0},
		{post, "/containers/{id}/attach", containerAttach, 0},
		{post, "/containers/{id}/wait", containerWait, 0},
		{post, "/containers/{id}/exec", execCreate, 0},
		{del, "/containers/{id}", containerRemove, 0},
		{post, "/commit", containerCommit, 0},

		{post, "/exec/{id}/start", execStart, 0},
		{post, "/exec/{id}/resize", execResize, 0},
		{get, "/exec/{id}/json", execInspect, 0},

		{get, "/images/json", imageList, 0},
		{post, "/images/create", imageCreate, 0},
		{post, "/images/load", imageLoad, 0},
		{get, "/images/search", imageSearch, 0},
		{get, "/images/get", imageSave, 0},
		{post, "/images/prune", imagePrune, 0},
		{get, "/images/{name}/json", imageInspect, 0},
		{get, "/images/{name}/history", imageHistory, 0},
		{get, "/images/{name}/get", imageSave, 0},
		{get, "/images/{name}/attestations", imageAttestations, 55},
		{post, "/images/{name}/push", imagePush, 0},
		{post, "/images/{name}/tag", imageTag, 0},
		{del, "/images/{name}", imageRemove, 0},
		{get, "/distribution/{name}/json", distributionInspect, 0},
		{post, "/build", imageBuild, 0},
		{post, "/build/prune", buildPrune, 0},
		{post, "/build/cancel", buildCancel, 0},
		{post, "/session", buildSession, 0},
		{post, "/grpc", buildControl, 0},

		{get, "/volumes", volumeList, 0},
		{post, "/volumes/create", volumeCreate, 0},
		{post, "/volumes/prune", volumePrune, 0},
		{get, "/volumes/{name}", volumeInspect, 0},
		{put, "/volumes/{name}", noSwarm, 0},
		{del, "/volumes/{name}", volumeRemove, 0},

		{get, "/networks", networkList, 0},
		{get, "/networks/", networkList, 0},
		{post, "/networks/create", networkCreate, 0},
		{post, "/networks/prune", networkPrune, 0},
		{post, "/networks/{id}/connect", networkConnect, 0},
		{post, "/networks/{id}/disconnect", networkDisconnect, 0},
		{get, "/networks/{id}", networkInspect, 0},
		{del, "/networks/{id}", networkRemove, 0},

		{get, "/plugins", pluginList, 0},
		{get, "/plugins/privileges", absent("plugins"), 0},
		{post, "/plugins/pull", absent("plugins"), 0},
		{post, "/plugins/create", absent("plugins"), 0},
		{get, "/plugins/{name}/json", noSuchPlugin, 0},
		{post, "/plugins/{name}/enable", noSuchPlugin, 0},
		{post, "/plugins/{name}/disable", noSuchPlugin, 0},
		{post, "/plugins/{name}/upgrade", noSuchPlugin, 0},
		{post, "/plugins/{name}/push", noSuchPlugin, 0},
		{post, "/plugins/{name}/set", noSuchPlugin, 0},
		{del, "/plugins/{name}", noSuchPlugin, 0},

		{post, "/hoy/build", hoyBuild, 0},
		{post, "/hoy/migrate/docker", migrateDocker, 0},
		{get, "/hoy/disk", diskReport, 0},
		{get, "/hoy/containers/{id}/ports", containerReach, 0},
		{get, "/hoy/manifests/{name}", manifestGet, 0},
		{put, "/hoy/manifests/{name}", manifestPut, 0},
		{post, "/hoy/volumes/{name}/clone", volumeClone, 0},
		{post, "/hoy/volumes/{name}/rename", volumeRename, 0},
		{get, "/hoy/volumes/{name}/files", volumeExport, 0},
		{post, "/hoy/volumes/{name}/files", volumeImport, 0},

		{get, "/swarm", noSwarm, 0},
		{post, "/swarm/init", absent("swarm mode"), 0},
		{post, "/swarm/join", absent("swarm mode"), 0},
		{post, "/swarm/leave", swarmLeave, 0},
		{post, "/swarm/update", noSwarm, 0},
		{get, "/swarm/unlockkey", noSwarm, 0},
		{post, "/swarm/unlock", noSwarm, 0},
		{get, "/nodes", noSwarm, 0},
		{get, "/nodes/{id}", noSwarm, 0},
		{del, "/nodes/{id}", noSwarm, 0},
		{post, "/nodes/{id}/update", noSwarm, 0},
		{get, "/services", noSwarm, 0},
		{post, "/services/create", noSwarm, 0},
		{get, "/services/{id}/logs", noSwarm, 0},
		{get, "/services/{id}", noSwarm, 0},
		{del, "/services/{id}", noSwarm, 0},
		{post, "/services/{id}/update", noSwarm, 0},
		{get, "/tasks", noSwarm, 0},
		{get, "/tasks/{id}/logs", noSwarm, 0},
		{get, "/tasks/{id}", noSwarm, 0},
		{get, "/secrets", noSwarm, 0},
		{post, "/secrets/create", noSwarm, 0},
		{get, "/secrets/{id}", noSwarm, 0},
		{del, "/secrets/{id}", noSwarm, 0},
		{post, "/secrets/{id}/update", noSwarm, 0},
		{get, "/configs", noSwarm, 0},
		{post, "/configs/create", noSwarm, 0},
		{get, "/configs/{id}", noSwarm, 0},
		{del, "/configs/{id}", noSwarm, 0},
		{post, "/configs/{id}/update", noSwarm, 0},
	}
}

// table finds routes by method and first segment, then in order.
type table map[string][]compiled

type compiled struct {
	route
	parts []string // the literal text around the variables
}

func newTable(routes []route) table {
	t := table{}
	for _, r := range routes {
		c := compiled{route: r}
		rest := r.path
		for {
			literal, after, variable := strings.Cut(rest, "{")
			c.parts = append(c.parts, literal)
			if !variable {
				break
			}
			_, rest, _ = strings.Cut(after, "}")
		}
		key := tableKey(r.method, r.path)
		t[key] = append(t[key], c)
	}
	return t
}

// tableKey is the method and the path's first segment; a path that begins with
// a variable is under the method alone.
func tableKey(method, path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	if strings.HasPrefix(first, "{") {
		return method
	}
	return method + " " + first
}

func (t table) find(method, path string) (*route, [2]string) {
	for _, list := range [][]compiled{t[tableKey(method, path)], t[method]} {
		for i := range list {
			if vars, ok := list[i].match(path); ok {
				return &list[i].route, vars
			}
		}
	}
	return nil, [2]string{}
}

// match takes the variables out of path. The last one ends at the route's
// literal tail, so that an image's name may hold slashes.
func (c *compiled) match(path string) (vars [2]string, ok bool) {
	if len(c.parts) == 1 {
		return vars, path == c.path
	}
	path, ok = strings.CutPrefix(path, c.parts[0])
	if !ok {
		return vars, false
	}
	last := len(c.parts) - 1
	path, ok = strings.CutSuffix(path, c.parts[last])
	if !ok {
		return vars, false
	}
	for i := 1; i < last; i++ {
		if vars[i-1], path, ok = strings.Cut(path, c.parts[i]); !ok || vars[i-1] == "" {
			return vars, false
		}
	}
	vars[last-1] = path
	return vars, path != ""
}
