package server

import (
	"github.com/moby/moby/api/types"
	apicontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"

	"hoy/container"
	"hoy/container/spec"
)

// containerUpdate changes limits. Versions up to 1.54 did not know those of single
// block devices here.
func containerUpdate(r *request) response {
	var u struct {
		apicontainer.UpdateConfig
		OnUnhealthy           string          // not docker's
		PublishAdd, PublishRm network.PortMap // not docker's
	}
	if err := r.body(&u); err != nil {
		return failure{err}
	}
	given := len(u.BlkioWeightDevice) + len(u.BlkioDeviceReadBps) + len(u.BlkioDeviceWriteBps) + len(u.BlkioDeviceReadIOps) + len(u.BlkioDeviceWriteIOps)
	if r.version < 55 {
		u.BlkioWeightDevice = nil
		u.BlkioDeviceReadBps, u.BlkioDeviceWriteBps, u.BlkioDeviceReadIOps, u.BlkioDeviceWriteIOps = nil, nil, nil, nil
	}
	if r.version < 40 {
		u.PidsLimit = nil
	}
	h := &apicontainer.HostConfig{Resources: u.Resources, RestartPolicy: u.RestartPolicy}
	if u.OnUnhealthy != "" {
		h.Annotations = map[string]string{spec.OnUnhealthyLabel: u.OnUnhealthy}
	}
	answer, err := r.server.Containers.Update(r.Context(), r.vars[0], h)
	if err == nil && len(u.PublishAdd)+len(u.PublishRm) > 0 {
		err = r.server.Containers.Publish(r.Context(), r.vars[0], u.PublishAdd, u.PublishRm)
	}
	if r.version < 55 && given > 0 {
		answer.Warnings = append(answer.Warnings, "Block I/O limits of devices can be updated from API version 1.55 on. Limits discarded.")
	}
	return result(answer, err)
}

// containerStats streams samples unless the client says otherwise.
func containerStats(r *request) response {
	o := container.StatsOptions{Stream: r.value("stream") == "" || r.flag("stream"), OneShot: r.version >= 41 && r.flag("one-shot")}
	return streamed(func(r *request) error {
		ctx, cancel := r.streaming()
		defer cancel()
		var out *jsonStream
		err := r.server.Containers.Stats(ctx, r.vars[0], o, func(s *apicontainer.StatsResponse) error {
			if out == nil {
				out = r.jsonStream(types.MediaTypeJSON)
			}
			return out.send(s)
		})
		if r.started && ctx.Err() != nil {
			return nil // the client has gone
		}
		return err
	})
}

func containerTop(r *request) response {
	return result(r.server.Containers.Top(r.Context(), r.vars[0], r.value("ps_args")))
}
