package build

import (
	"context"

	"github.com/moby/buildkit/executor"
	resources "github.com/moby/buildkit/executor/resources/types"

	"hoy/lib/fault"
)

// stepExecutor runs the steps of builds.
type stepExecutor struct{ b *Builder }

// Run runs a step.
func (e *stepExecutor) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, p executor.ProcessInfo, started chan<- struct{}) (resources.Recorder, error) {
	return nil, fault.New(fault.NotImplemented, "RUN is not built yet")
}

// Exec runs a process in a step.
func (e *stepExecutor) Exec(ctx context.Context, id string, p executor.ProcessInfo) error {
	return fault.New(fault.NotImplemented, "RUN is not built yet")
}
