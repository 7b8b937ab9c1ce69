package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/docker/go-units"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/events"

	"hoy/client"
)

// statsBoard keeps the latest statistics of some containers.
type statsBoard struct {
	c            *client.Client
	stream, full bool
	first        sync.WaitGroup // until each has its first statistics

	mu   sync.Mutex
	rows []*statsLine
	err  error
}

// statsLine is one container on the board.
type statsLine struct {
	ref string
	row statsRow
}

// statsRow is a container as stats shows it; its fields are docker's, by name.
type statsRow struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string
}

func (b *statsBoard) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *statsBoard) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

// watch puts all containers on the board, and those that come.
func (b *statsBoard) watch(ctx context.Context, all bool) error {
	var ev *client.Events
	if b.stream {
		var err error
		if ev, err = b.c.Events(ctx, "", "", client.Filters{"type": {"container"}, "event": {"create", "start", "die", "destroy"}}); err != nil {
			return err
		}
		context.AfterFunc(ctx, func() { ev.Close() })
	}
	list, err := b.c.ContainerList(ctx, client.ListOptions{All: all})
	if err != nil {
		return err
	}
	for _, s := range list {
		b.add(ctx, s.ID, true)
	}
	if ev != nil {
		go b.follow(ctx, ev, all)
	}
	return nil
}

// follow adds and removes containers as they come and go.
func (b *statsBoard) follow(ctx context.Context, ev *client.Events, all bool) {
	for {
		m, err := ev.Next()
		if err != nil {
			if ctx.Err() == nil {
				b.fail(err)
			}
			return
		}
		switch {
		case m.Action == events.ActionStart, m.Action == events.ActionCreate && all:
			b.add(ctx, m.Actor.ID, true)
		case m.Action == events.ActionDestroy, m.Action == events.ActionDie && !all:
			b.remove(m.Actor.ID)
		}
	}
}

// add puts a container on the board if it is not there. quiet: it may be gone.
func (b *statsBoard) add(ctx context.Context, ref string, quiet bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.rows, func(l *statsLine) bool { return l.ref == ref }) {
		return
	}
	l := &statsLine{ref, statsRow{Container: ref, BlockIO: "--", CPUPerc: "--", ID: "--", MemPerc: "--", MemUsage: "-- / --", Name: "--", NetIO: "--", PIDs: "--"}}
	b.rows = append(b.rows, l)
	b.first.Add(1)
	go b.fill(ctx, l, quiet)
}

// fill keeps a row up to date until its container is gone from the board.
func (b *statsBoard) fill(ctx context.Context, l *statsLine, quiet bool) {
	told := sync.OnceFunc(b.first.Done)
	defer told()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := b.c.ContainerStats(ctx, l.ref, b.stream, func(s *container.StatsResponse) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		l.row = statsRowOf(l.ref, s, b.full)
		told()
		if !slices.Contains(b.rows, l) {
			cancel()
		}
		return nil
	})
	switch {
	case ctx.Err() != nil:
	case client.StatusOf(err) == 404 && quiet, err == nil && b.stream:
		b.remove(l.ref)
	case err != nil:
		b.fail(err)
	}
}

func (b *statsBoard) remove(ref string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rows = slices.DeleteFunc(b.rows, func(l *statsLine) bool { return l.ref == ref })
}

// statsRowOf computes what people want to see.
func statsRowOf(ref string, s *container.StatsResponse, full bool) statsRow {
	r := statsRow{Container: ref, ID: s.ID, Name: strings.TrimPrefix(s.Name, "/"), PIDs: fmt.Sprint(s.PidsStats.Current)}
	if !full {
		r.ID = shortID(s.ID)
	}
	m, used := &s.MemoryStats, memoryUse(&s.MemoryStats)
	r.MemUsage = units.BytesSize(float64(used)) + " / " + units.BytesSize(float64(m.Limit))
	percent := 0.0
	if m.Limit != 0 {
		percent = 100 * float64(used) / float64(m.Limit)
	}
	r.MemPerc, r.CPUPerc = fmt.Sprintf("%.2f%%", percent), fmt.Sprintf("%.2f%%", cpuPercent(s))
	var rx, tx, read, write uint64
	for _, n := range s.Networks {
		rx, tx = rx+n.RxBytes, tx+n.TxBytes
	}
	for _, e := range s.BlkioStats.IoServiceBytesRecursive {
		switch strings.ToLower(e.Op) {
		case "read":
			read += e.Value
		case "write":
			write += e.Value
		}
	}
	r.NetIO, r.BlockIO = bothWays(rx, tx), bothWays(read, write)
	return r
}

func bothWays(in, out uint64) string {
	return units.HumanSizeWithPrecision(float64(in), 3) + " / " + units.HumanSizeWithPrecision(float64(out), 3)
}

// memoryUse leaves out the page cache that the kernel would give back first, as docker
// does: by v1's name or v2's.
func memoryUse(m *container.MemoryStats) uint64 {
	for _, name := range []string{"total_inactive_file", "inactive_file"} {
		if cache, ok := m.Stats[name]; ok && cache < m.Usage {
			return m.Usage - cache
		}
	}
	return m.Usage
}

// cpuPercent is the container's part of one processor's time between two samples.
func cpuPercent(s *container.StatsResponse) float64 {
	used := float64(s.CPUStats.CPUUsage.TotalUsage) - float64(s.PreCPUStats.CPUUsage.TotalUsage)
	all := float64(s.CPUStats.SystemUsage) - float64(s.PreCPUStats.SystemUsage)
	if used <= 0 || all <= 0 || s.PreCPUStats.SystemUsage == 0 {
		return 0
	}
	return 100 * used / all * float64(s.CPUStats.OnlineCPUs)
}
