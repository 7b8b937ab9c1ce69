package container

import (
	"strings"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
)

// What docker takes for what a health check leaves out, and keeps of its results.
const (
	checkInterval  = 30 * time.Second
	checkTimeout   = 30 * time.Second
	checkStart     = 5 * time.Second // between probes while the container starts
	checkRetries   = 3
	healthLog      = 5    // results
	healthOutput   = 4096 // bytes of a result's output
	neverProbed    = -1   // exit code of a probe that did not run or was too slow
	statusHealthy  = apicontainer.Healthy
	statusStarting = apicontainer.Starting
)

// checkup is a container's health check, complete.
type checkup struct {
	command       []string
	interval      time.Duration // from the end of a probe to the next
	timeout       time.Duration
	startPeriod   time.Duration // in which failures do not count
	startInterval time.Duration
	retries       int // failures in a row that make it unhealthy
}

// newCheckup returns the health check of a container, nil when it has none.
func newCheckup(c *apicontainer.Config) *checkup {
	h := c.Healthcheck
	if h == nil || len(h.Test) < 2 {
		return nil
	}
	k := &checkup{interval: h.Interval, timeout: h.Timeout, startPeriod: h.StartPeriod, startInterval: h.StartInterval, retries: h.Retries}
	switch h.Test[0] {
	case "CMD":
		k.command = h.Test[1:]
	case "CMD-SHELL":
		shell := c.Shell
		if len(shell) == 0 {
			shell = []string{"/bin/sh", "-c"}
		}
		k.command = append(append([]string{}, shell...), h.Test[1:]...)
	default:
		return nil
	}
	for d, missing := range map[*time.Duration]time.Duration{&k.interval: checkInterval, &k.timeout: checkTimeout, &k.startInterval: checkStart} {
		if *d == 0 {
			*d = missing
		}
	}
	if k.retries <= 0 {
		k.retries = checkRetries
	}
	return k
}

// wait is the time to the next probe of a container that has been up for so long. It
// does not go beyond the end of the start period, when the pace changes.
func (k *checkup) wait(status apicontainer.HealthStatus, up time.Duration) time.Duration {
	if status == statusStarting && up < k.startPeriod {
		return min(k.startInterval, k.startPeriod-up)
	}
	return k.interval
}

// judge returns the health after a result. h itself is not changed: readers have it.
func (k *checkup) judge(h *apicontainer.Health, r *apicontainer.HealthcheckResult, started time.Time) *apicontainer.Health {
	past := h.Log[max(0, len(h.Log)-healthLog+1):]
	n := &apicontainer.Health{Status: h.Status, FailingStreak: h.FailingStreak, Log: append(append([]*apicontainer.HealthcheckResult{}, past...), r)}
	switch {
	case r.ExitCode == 0:
		n.Status, n.FailingStreak = statusHealthy, 0
	case h.Status == statusStarting && r.Start.Sub(started) < k.startPeriod:
	default:
		if n.FailingStreak++; n.FailingStreak >= k.retries {
			n.Status = apicontainer.Unhealthy
		}
	}
	return n
}

// newHealth is the health of a container that has just started: the log of earlier
// runs stays.
func newHealth(old *apicontainer.Health) *apicontainer.Health {
	h := &apicontainer.Health{Status: statusStarting, Log: []*apicontainer.HealthcheckResult{}}
	if old != nil {
		h.Log = old.Log
	}
	return h
}

// healthStatus is the health as lists and filters name it.
func (r *record) healthStatus() apicontainer.HealthStatus {
	if h := r.Supervision.Health; h != nil {
		return h.Status
	}
	return apicontainer.NoHealthcheck
}

func (r *record) healthSummary() *apicontainer.HealthSummary {
	s := &apicontainer.HealthSummary{Status: r.healthStatus()}
	if h := r.Supervision.Health; h != nil {
		s.FailingStreak = h.FailingStreak
	}
	return s
}

// healthWords is the health as ps shows it behind the status, "" when there is none.
func (r *record) healthWords() string {
	switch s := r.healthStatus(); s {
	case apicontainer.NoHealthcheck:
		return ""
	case statusStarting:
		return " (health: starting)"
	default:
		return " (" + string(s) + ")"
	}
}

// tooSlow is the output of a probe that was killed at its timeout.
func (k *checkup) tooSlow(output string) string {
	s := "Health check exceeded timeout (" + k.timeout.String() + ")"
	if output != "" {
		s += ": " + output
	}
	return s
}

// shortened keeps the beginning of a probe's output, as valid text.
func shortened(output []byte) string {
	if len(output) > healthOutput {
		return strings.ToValidUTF8(string(output[:healthOutput]), "\uFFFD") + "..."
	}
	return strings.ToValidUTF8(string(output), "\uFFFD")
}
