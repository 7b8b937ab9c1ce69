package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/container"
	"golang.org/x/sys/unix"

	"hoy/client"
)

// stepNames are the parts of a run that a client of the API can tell apart; the
// numbers are those of ARCHITECTURE.md, "hoy run in ten steps".
var stepNames = [...]string{"create (2)", "attach and wait (3, 4)", "start, to exec (5-8)", "to the output's end (9)", "to removed (9)"}

// steps times what `run --rm` does, request by request, and what it costs each program.
func (e *engine) steps(image string, n int) error {
	c, err := client.New(client.Options{Endpoint: client.Endpoint{Host: e.host()}})
	if err != nil {
		return err
	}
	var ms [len(stepNames)][]float64
	for range n {
		if err := timedRun(c, image, &ms); err != nil {
			return err
		}
	}
	fmt.Println("\n== hoy run --rm, request by request; ms, median (fastest)")
	for i, name := range stepNames {
		slices.Sort(ms[i])
		fmt.Printf("%-34s %8.2f ms   (%.2f)\n", name, ms[i][n/2], ms[i][0])
	}
	return e.cost(image, n)
}

// timedRun runs a container as the command line does, and notes how long each step took.
func timedRun(c *client.Client, image string, ms *[len(stepNames)][]float64) error {
	ctx := context.Background()
	last := time.Now()
	step := 0
	done := func() {
		now := time.Now()
		ms[step] = append(ms[step], float64(now.Sub(last).Nanoseconds())/1e6)
		last, step = now, step+1
	}
	var r container.CreateRequest
	r.Config = &container.Config{Image: image, Cmd: []string{"true"}, AttachStdout: true, AttachStderr: true}
	r.HostConfig = &container.HostConfig{AutoRemove: true}
	made, err := c.ContainerCreate(ctx, r, "", "")
	if err != nil {
		return err
	}
	done()
	stream, err := c.ContainerAttach(ctx, made.ID, client.AttachOptions{Stdout: true, Stderr: true})
	if err != nil {
		return err
	}
	defer stream.Close()
	wait, err := c.ContainerWait(ctx, made.ID, container.WaitConditionRemoved)
	if err != nil {
		return err
	}
	done()
	if err := c.ContainerStart(ctx, made.ID, ""); err != nil {
		return err
	}
	done()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		return err
	}
	done()
	_, err = wait.Result()
	done()
	return err
}

// cost is the processor time of n runs, for the command line, engine and keeper, with
// what the engine does behind the answer.
func (e *engine) cost(image string, n int) error {
	before := e.cpu()
	var own time.Duration
	for range n {
		cmd := e.hoy("run", "--rm", image, "true")
		if _, err := output(cmd); err != nil {
			return err
		}
		own += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	time.Sleep(200 * time.Millisecond) // for what goes on in the background
	after := e.cpu()
	each := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 / float64(n) }
	fmt.Printf("%-34s hoy %.1f, hoyd %.1f, hoy-keeper %.1f ms a run\n", "processor time", each(own),
		each(after["hoyd"]-before["hoyd"]), each(after["hoy-keeper"]-before["hoy-keeper"]))
	return nil
}

// cpu is the processor time so far of the engine's processes, by program.
func (e *engine) cpu() map[string]time.Duration {
	sum := map[string]time.Duration{}
	for pid, command := range e.processes() {
		var t unix.Timespec
		// A process's clock (clock_getcpuclockid(3)).
		if unix.ClockGettime(int32(^pid<<3|2), &t) == nil {
			program, _, _ := strings.Cut(command, "\x00")
			sum[filepath.Base(program)] += time.Duration(t.Nano())
		}
	}
	return sum
}
