package standin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"hoy/shim"
)

// launch starts the shim of t, which goes on by itself, and returns where it answers.
func launch(b shim.Bundle, t *shim.Task, options *anypb.Any, events string) (shim.Address, error) {
	input, err := startInput(t, options, events)
	if err != nil {
		return shim.Address{}, err
	}
	out, err := start(b, t, events, input)
	if err != nil && strings.Contains(err.Error(), "type with url") {
		// runc's shim of containerd up to 1.6 has taken that for its options.
		if input, err = nil, nil; options != nil {
			input, err = proto.Marshal(options)
		}
		if err == nil {
			out, err = start(b, t, events, input)
		}
	}
	if err != nil {
		return shim.Address{}, err
	}
	return answer(out)
}

// start runs the shim's program to start the shim, and returns what it writes.
func start(b shim.Bundle, t *shim.Task, events string, input []byte) ([]byte, error) {
	c := command(context.Background(), b, t, events, "start")
	var out, complaint bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = bytes.NewReader(input), &out, &complaint
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("%s: %s (%w)", filepath.Base(t.Program), strings.TrimSpace(complaint.String()+out.String()), err)
	}
	return out.Bytes(), nil
}

// command is a call of the shim's program, which finds the bundle in its directory.
func command(ctx context.Context, b shim.Bundle, t *shim.Task, events string, args ...string) *exec.Cmd {
	self, _ := os.Executable()
	args = append([]string{"-namespace", shim.Namespace, "-address", events, "-publish-binary", self, "-id", t.ID}, args...)
	c := exec.CommandContext(ctx, t.Program, args...)
	c.Dir = string(b)
	c.Env = environment(events)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// startInput is what a shim reads when it is started: the parameters of containerd's
// bootstrap protocol, which most shims from before it do not look at.
func startInput(t *shim.Task, options *anypb.Any, events string) ([]byte, error) {
	self, _ := os.Executable()
	p := &bootstrap.BootstrapParams{
		InstanceID: t.ID, Namespace: shim.Namespace, LogLevel: bootstrap.LogLevel_LOG_LEVEL_WARN,
		ContainerdGrpcAddress: events, ContainerdTtrpcAddress: events, ContainerdBinary: self,
	}
	if options != nil {
		if err := p.AddExtension(options); err != nil {
			return nil, err
		}
	}
	return proto.Marshal(p)
}

// answer reads what a shim that was started writes: a message of the bootstrap protocol,
// the same as JSON, or in version 2 its address alone.
func answer(out []byte) (shim.Address, error) {
	var m bootstrap.BootstrapResult
	if proto.Unmarshal(out, &m) == nil && m.Address != "" {
		return address(m.Address, m.Protocol, int(m.Version))
	}
	out = bytes.TrimSpace(out)
	var j struct {
		Version           int
		Address, Protocol string
	}
	if json.Unmarshal(out, &j) == nil && j.Version >= 2 {
		return address(j.Address, j.Protocol, j.Version)
	}
	return address(string(out), "ttrpc", 2)
}

func address(at, protocol string, version int) (shim.Address, error) {
	if protocol != "" && !strings.EqualFold(protocol, "ttrpc") {
		return shim.Address{}, fmt.Errorf("the shim speaks %s, hoy only ttrpc", protocol)
	}
	if at == "" {
		return shim.Address{}, errors.New("the shim does not say where it answers")
	}
	return shim.Address{Address: at, Version: version}, nil
}
