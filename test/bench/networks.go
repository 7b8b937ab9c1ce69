package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"hoy/client"
	hoynet "hoy/linux/netlink"
)

// attachments are what a container may be attached to: options of create.
var attachments = []struct {
	what string
	args []string
}{
	{"none", []string{"--network", "none"}},
	{"bridge", nil},
	{"bridge, 2 ports", []string{"-p", "127.0.0.1:18080:80", "-p", "18443:443"}},
	{"user-defined", []string{"--network", "bench"}},
	{"user-defined, 2 ports", []string{"--network", "bench", "-p", "127.0.0.1:18080:80", "-p", "18443:443"}},
}

// starts times the start of a container (the request, to exec), its removal by force and
// a whole run, for each kind of network in turn, so that all meet the same load.
func (e *engine) starts(image string, n int) error {
	c, err := client.New(client.Options{Endpoint: client.Endpoint{Host: e.host()}})
	if err != nil {
		return err
	}
	if _, err := output(e.hoy("network", "create", "bench")); err != nil {
		return err
	}
	// Somebody stays on it: so endpoints are kept ready, as on any network in use.
	if _, err := output(e.hoy("run", "-d", "--name", "bench-member", "--network", "bench", image, "sleep", "100000")); err != nil {
		return err
	}
	start, remove, run := make([][]float64, len(attachments)), make([][]float64, len(attachments)), make([][]float64, len(attachments))
	for range n {
		for i, a := range attachments {
			id, err := output(e.hoy(slices.Concat([]string{"create"}, a.args, []string{image, "sleep", "100000"})...))
			if err != nil {
				return err
			}
			time.Sleep(60 * time.Millisecond) // for the pools, and what is behind the last answer
			for _, step := range []struct {
				ms *[]float64
				do func() error
			}{
				{&start[i], func() error { return c.ContainerStart(context.Background(), id, "") }},
				{&remove[i], func() error { return c.ContainerRemove(context.Background(), id, true, false, false) }},
				{&run[i], func() error {
					_, err := output(e.hoy(slices.Concat([]string{"run", "--rm"}, a.args, []string{image, "true"})...))
					return err
				}},
			} {
				seconds, err := timed(step.do)
				if err != nil {
					return err
				}
				*step.ms = append(*step.ms, seconds*1e3)
			}
		}
	}
	fmt.Println("\n== networks, in turn: POST start, DELETE by force, hoy run --rm; ms, median (fastest)   goal: start with 2 ports within 2 ms of none")
	for i, a := range attachments {
		fmt.Printf("%-34s", a.what)
		for _, ms := range [][]float64{start[i], remove[i], run[i]} {
			fmt.Printf(" %8.2f (%.2f)", median(ms), slices.Min(ms))
		}
		fmt.Printf("   start %+.2f (%+.2f)\n", median(start[i])-median(start[0]), slices.Min(start[i])-slices.Min(start[0]))
	}
	_, err = output(e.hoy("rm", "-f", "bench-member"))
	return err
}

// networks measures what networks cost a start, and what they carry.
func networks(reference string, rounds int) error {
	if err := carry(reference, rounds); err != nil {
		return err
	}
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	defer ns.Close()
	var e *engine
	if err := hoynet.In(ns, func() (err error) { e, err = startEngine(); return err }); err != nil {
		return err
	}
	defer e.close()
	return e.starts("hoy/toolbox", 4*rounds)
}
