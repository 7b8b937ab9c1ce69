package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	goruntime "runtime"
	"time"

	apicontainer "github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/build"
	"hoy/container"
	"hoy/lib/metrics"
	"hoy/lib/version"
	"hoy/linux/proc"
)

// measures are the metrics of an engine, by dockerd's names, which people's dashboards
// and alarms know.
type measures struct {
	set        metrics.Set
	containers *metrics.Timer
	about      *metrics.Timer
}

func newMeasures(d *Daemon) *measures {
	m := &measures{}
	s := &m.set
	m.containers = s.Timer("engine_daemon_container_actions_seconds", "The number of seconds it takes to process each container action", "action",
		"changes", "commit", "create", "delete", "start")
	s.CounterFunc("builder_builds_triggered_total", "Number of triggered image builds", func() float64 {
		started, _ := d.builder.Counts()
		return float64(started)
	})
	s.Counters("builder_builds_failed_total", "Number of failed image builds", func(tell func(float64, ...metrics.Label)) {
		_, failed := d.builder.Counts()
		for _, why := range build.FailureReasons() {
			tell(float64(failed[why]), metrics.Label{Name: "reason", Value: why})
		}
	})
	s.Gauges("engine_daemon_container_states_containers", "The count of containers in various states", func(tell func(float64, ...metrics.Label)) {
		running, paused, stopped := d.containers.Count()
		tell(float64(paused), metrics.Label{Name: "state", Value: "paused"})
		tell(float64(running), metrics.Label{Name: "state", Value: "running"})
		tell(float64(stopped), metrics.Label{Name: "state", Value: "stopped"})
	})
	s.Gauge("engine_daemon_engine_cpus_cpus", "The number of cpus that the host system of the engine has", func() float64 { return float64(goruntime.NumCPU()) })
	system, systemVersion := release()
	s.Gauges("engine_daemon_engine_info", "The information related to the engine and the OS it is running on", func(tell func(float64, ...metrics.Label)) {
		tell(1, metrics.Label{Name: "architecture", Value: architecture()}, metrics.Label{Name: "commit", Value: version.Commit},
			metrics.Label{Name: "daemon_id", Value: d.id}, metrics.Label{Name: "graphdriver", Value: container.Driver},
			metrics.Label{Name: "kernel", Value: kernelVersion()}, metrics.Label{Name: "os", Value: system},
			metrics.Label{Name: "os_type", Value: goruntime.GOOS}, metrics.Label{Name: "os_version", Value: systemVersion},
			metrics.Label{Name: "version", Value: version.Version})
	})
	s.Gauge("engine_daemon_engine_memory_bytes", "The number of bytes of memory that the host system of the engine has", func() float64 { return float64(int64(proc.Memory())) })
	s.Gauge("engine_daemon_events_subscribers_total", "The number of current subscribers to events", func() float64 { return float64(d.bus.Listeners()) })
	s.CounterFunc("engine_daemon_events_total", "The number of events logged", func() float64 { return float64(d.bus.Published()) })
	s.CounterFunc("engine_daemon_health_checks_failed_total", "The total number of failed health checks", func() float64 {
		_, failed := d.containers.HealthChecks()
		return float64(failed)
	})
	s.CounterFunc("engine_daemon_health_checks_total", "The total number of health checks", func() float64 {
		all, _ := d.containers.HealthChecks()
		return float64(all)
	})
	m.about = s.Timer("engine_daemon_host_info_functions_seconds", "The number of seconds it takes to call functions gathering info about the host", "function",
		"system_info", "system_version")
	process(s)
	return m
}

// process are the metrics of a Go program, by the names that Prometheus' own library
// gives them.
func process(s *metrics.Set) {
	started := time.Now()
	s.Gauge("go_goroutines", "Number of goroutines that currently exist.", func() float64 { return float64(goruntime.NumGoroutine()) })
	s.Gauges("go_info", "Information about the Go environment.", func(tell func(float64, ...metrics.Label)) {
		tell(1, metrics.Label{Name: "version", Value: goruntime.Version()})
	})
	s.CounterFunc("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", func() float64 {
		var u unix.Rusage
		unix.Getrusage(unix.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	})
	s.Gauge("process_open_fds", "Number of open file descriptors.", func() float64 { return float64(openFiles()) })
	s.Gauge("process_resident_memory_bytes", "Resident memory size in bytes.", func() float64 {
		var size, resident int64
		fmt.Sscan(content("/proc/self/statm"), &size, &resident)
		return float64(resident) * float64(os.Getpagesize())
	})
	s.Gauge("process_start_time_seconds", "Start time of the process since unix epoch in seconds.", func() float64 { return float64(started.Unix()) })
}

// timed times what the metrics tell of containers.
type timed struct {
	*container.Containers
	timer *metrics.Timer
}

// Create times Containers.Create.
func (t timed) Create(ctx context.Context, r container.CreateRequest) (apicontainer.CreateResponse, error) {
	defer t.timer.Time("create")()
	return t.Containers.Create(ctx, r)
}

// Start times Containers.Start.
func (t timed) Start(ctx context.Context, ref string) error {
	defer t.timer.Time("start")()
	return t.Containers.Start(ctx, ref)
}

// Remove times Containers.Remove.
func (t timed) Remove(ctx context.Context, ref string, o container.RemoveOptions) error {
	defer t.timer.Time("delete")()
	return t.Containers.Remove(ctx, ref, o)
}

// Changes times Containers.Changes.
func (t timed) Changes(ctx context.Context, ref string) ([]apicontainer.FilesystemChange, error) {
	defer t.timer.Time("changes")()
	return t.Containers.Changes(ctx, ref)
}

// Commit times Containers.Commit.
func (t timed) Commit(ctx context.Context, r container.CommitRequest) (string, error) {
	defer t.timer.Time("commit")()
	return t.Containers.Commit(ctx, r)
}

// serveMetrics answers Prometheus on --metrics-addr, until the engine ends.
func (d *Daemon) serveMetrics() error {
	if d.o.MetricsAddr == "" {
		return nil
	}
	l, err := net.Listen("tcp", d.o.MetricsAddr)
	if err != nil {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		d.measures.set.WriteTo(w)
	})
	s := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	d.closers.Add(func() { s.Close() })
	d.log.Info("metrics API listening", "address", l.Addr().String())
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			d.log.Error("the metrics are no longer served", "error", err)
		}
	}()
	return nil
}
