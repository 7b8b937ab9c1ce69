package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"hoy/lib/fault"
)

// Program is the path of hoy-shim. As "run" and "exec" it stands for a process (package
// standin); its other commands do one thing to a container, each in a process of its own,
// so that none waits for another.
type Program string

// Exit codes of its commands besides 0 and 1.
const (
	CodeGone     = 3 // what the command is about has ended
	CodeRefused  = 4 // the runtime cannot do it
	CodeRuns     = 5 // it is not paused
	patienceCall = 30 * time.Second
)

// ErrGone says that the process has ended.
var ErrGone = errors.New("it has ended")

// Kill sends a signal to the first process, or to that of an exec.
func (p Program) Kill(b Bundle, number unix.Signal, execID string) error {
	args := []string{"kill", string(b), strconv.Itoa(int(number))}
	if execID != "" {
		args = append(args, execID)
	}
	return p.call(nil, args...)
}

var errRuns = errors.New("it is not paused")

// Paused tells whether the container is frozen, as its shim has it.
func (p Program) Paused(b Bundle) (bool, error) {
	err := p.call(nil, "paused", string(b))
	if err == errRuns || err == ErrGone {
		return false, nil
	}
	return err == nil, err
}

// Pause freezes the container.
func (p Program) Pause(b Bundle) error { return p.call(nil, "pause", string(b)) }

// Resume undoes Pause.
func (p Program) Resume(b Bundle) error { return p.call(nil, "resume", string(b)) }

// Update sets limits.
func (p Program) Update(b Bundle, r *specs.LinuxResources) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return p.call(data, "update", string(b))
}

// Clean ends what is left of a container whose hoy-shim is no more, and removes its
// bundle.
func (p Program) Clean(b Bundle) error {
	var err error
	if b.Has("shim.json") {
		err = p.call(nil, "clean", string(b))
	}
	return errors.Join(err, os.RemoveAll(string(b)))
}

func (p Program) call(stdin []byte, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patienceCall)
	defer cancel()
	c := exec.CommandContext(ctx, string(p), args...)
	c.WaitDelay = time.Second
	c.Stdin = bytes.NewReader(stdin)
	out, err := c.CombinedOutput()
	if err == nil {
		return nil
	}
	text := strings.TrimSpace(string(out))
	if ctx.Err() != nil {
		return fault.New(fault.Unavailable, "the container's runtime does not answer: hoy-shim %s: %w", args[0], ctx.Err())
	}
	e, ended := errors.AsType[*exec.ExitError](err)
	switch {
	case !ended:
		return err
	case e.ExitCode() == CodeGone:
		return ErrGone
	case e.ExitCode() == CodeRuns:
		return errRuns
	case e.ExitCode() == CodeRefused:
		return fault.New(fault.NotImplemented, "%s", text)
	case text == "":
		return err
	}
	return errors.New(text)
}

// ExitCode is the exit code of a process that a runtime has refused to start, by docker's
// rules, which look at the runtime's words.
func ExitCode(text string) int {
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case has("executable file not found", "no such file or directory", "system cannot find the file specified"):
		return 127
	case has("permission denied", "not a directory", "is a directory"):
		return 126
	}
	return 128
}

// quote makes s one word of a shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
