package build

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Reasons for which builds fail, by docker's names for its metrics.
const (
	failedSyntax      = "dockerfile_syntax_error"
	failedEmpty       = "dockerfile_empty_error"
	failedInstruction = "unknown_instruction_error"
	failedTarget      = "build_target_not_reachable_error"
	failedStep        = "error_processing_commands_error"
	failedCanceled    = "build_canceled"
)

// FailureReasons lists all that Counts knows.
func FailureReasons() []string {
	return []string{failedCanceled, failedEmpty, failedInstruction, failedStep, failedSyntax, failedTarget}
}

// counts are of the builds that were asked for by requests.
type counts struct {
	mu      sync.Mutex
	started uint64
	failed  map[string]uint64
}

// Counts tells how many builds were asked for by requests since the builder was opened,
// and how many have failed, by reason.
func (b *Builder) Counts() (started uint64, failed map[string]uint64) {
	c := &b.front.counts
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started, maps.Clone(c.failed)
}

func (c *counts) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
}

// end counts a failure; nil is none.
func (c *counts) end(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = map[string]uint64{}
	}
	c.failed[reason(err)]++
}

// reason tells why by the words of the front end, which has no kinds for it.
func reason(err error) string {
	text := err.Error()
	says := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(text, w) })
	}
	switch {
	case errors.Is(err, context.Canceled), says("context canceled"):
		return failedCanceled
	case ExitCode(err) != 0:
		return failedStep
	case says("unknown instruction"):
		return failedInstruction
	case says("cannot be empty", "no instructions"):
		return failedEmpty
	case says("target stage"):
		return failedTarget
	case says("dockerfile parse error", "failed to parse", "no build stage"):
		return failedSyntax
	}
	return failedStep
}
