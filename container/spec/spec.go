// Package spec turns docker's container options into an OCI runtime specification.
package spec

import (
	"errors"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// Validate checks every field of a create request against what host offers.
// Fields that the kernel cannot honour are reset in c, h and n and come back
// as warnings; what makes no sense or isn't built is an error. n may be nil.
func Validate(c *container.Config, h *container.HostConfig, n *network.NetworkingConfig, host Host) (warnings []string, err error) {
	return nil, errors.New("spec: not built")
}

// Build makes the specification of a container whose options passed Validate.
func Build(in Input) (*specs.Spec, error) {
	return nil, errors.New("spec: not built")
}

// ProcessEnv returns the environment docker gives a container's first process:
// PATH, HOSTNAME, TERM with a terminal, HOME, then config's own, later ones winning.
func ProcessEnv(c *container.Config, hostname, home string) []string { return nil }

// ExecProcess makes the process of an exec in a container with specification s.
func ExecProcess(s *specs.Spec, r ExecRequest) (*specs.Process, error) {
	return nil, errors.New("spec: not built")
}

// ExecRequest is a resolved `exec`.
type ExecRequest struct {
	Args       []string
	Env        []string    // added to the container's
	Cwd        string      // "" = the container's
	User       *specs.User // numeric; nil = the container's
	Home       string      // of User
	Terminal   bool
	Privileged bool // every capability, no seccomp change
}
