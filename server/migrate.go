package server

import (
	"path/filepath"

	"hoy/lib/fault"
)

// migrateDocker takes over what a Docker engine has, telling of each thing.
func migrateDocker(r *request) response {
	root, containerd := r.value("root"), r.value("containerd")
	for _, dir := range []string{root, containerd} {
		if dir != "" && !filepath.IsAbs(dir) || root == "" {
			return failure{fault.New(fault.Invalid, "root and containerd are absolute paths of directories on the engine's machine: %q", dir)}
		}
	}
	return progress(func(r *request, say Progress) error {
		return r.server.Migration.Docker(r.Context(), root, containerd, say)
	})
}
