package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"hoy/test/imagefloor"
)

// An imager is what images are loaded into and pulled by.
type imager struct {
	name string
	// command is one of its command line.
	command func(args ...string) *exec.Cmd
	pull    []string // options of pull
	close   func()
}

// images measures load, and pull and unpack, of an image of many layers: the floor, hoy
// and the peers that are here, in turns. archive is one of docker save; "" makes one.
func images(archive, reference string, rounds int) error {
	dir, err := os.MkdirTemp("", "hoy-bench-images")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	layers, err := bigLayers(archive)
	if err != nil {
		return err
	}
	e, err := startEngine()
	if err != nil {
		return err
	}
	defer e.close()
	reg, err := startRegistry(dir)
	if err != nil {
		return err
	}
	defer reg.close()
	all := append([]imager{{name: "hoy", command: e.hoy, close: func() {}}}, imagers(dir, reference)...)
	defer func() {
		for _, i := range all {
			i.close()
		}
	}()
	fmt.Printf("\n== load, and pull and unpack, from loopback, of an image with %d layers, %d MB; s, median (fastest)\n", len(layers), size(layers)>>20)
	fmt.Printf("load average before: %s\n", loadAverage())
	for _, kind := range []string{"plain", "gzip"} {
		stored := layers
		if kind == "gzip" {
			if stored, err = compressed(layers); err != nil {
				return err
			}
		}
		path := filepath.Join(dir, kind+".tar")
		if err := writeArchive(path, layers, stored); err != nil {
			return err
		}
		if err := compare(dir, kind, path, reg.host+"/big:"+kind, stored, all, rounds); err != nil {
			return err
		}
		os.Remove(path)
	}
	fmt.Printf("load average after: %s\n", loadAverage())
	return nil
}

// compare prints one line for the floor and each imager.
func compare(dir, kind, archive, ref string, stored [][]byte, all []imager, rounds int) error {
	hoy := all[0]
	for _, args := range [][]string{{"load", "-q", "-i", archive}, {"tag", bigName, ref}, {"push", "-q", ref}, {"rmi", "-f", bigName, ref}} {
		if _, err := output(hoy.command(args...)); err != nil {
			return err
		}
	}
	took := map[string][]float64{}
	for range rounds {
		seconds, err := timed(func() error { return imagefloor.Run(filepath.Join(dir, "floor"), stored) })
		if err != nil {
			return err
		}
		took["floor"] = append(took["floor"], seconds)
		os.RemoveAll(filepath.Join(dir, "floor"))
		for _, i := range all {
			for what, args := range map[string][]string{"load": {"load", "-q", "-i", archive}, "pull": slices.Concat([]string{"pull", "-q"}, i.pull, []string{ref})} {
				unix.Sync()
				seconds, err := timed(func() error { _, err := output(i.command(args...)); return err })
				if err != nil {
					return err
				}
				took[what+" "+i.name] = append(took[what+" "+i.name], seconds)
				name := bigName
				if what == "pull" {
					name = ref
				}
				if _, err := output(i.command("rmi", "-f", name)); err != nil {
					return err
				}
			}
		}
	}
	least := median(took["floor"])
	fmt.Printf("%-6s %-14s %6.2f (%.2f)\n", kind, "floor", least, slices.Min(took["floor"]))
	for _, what := range []string{"load", "pull"} {
		for _, i := range all {
			s := took[what+" "+i.name]
			fmt.Printf("%-6s %-14s %6.2f (%.2f)   %5.2f of the floor (fastest: %.2f)\n", kind, what+" "+i.name, median(s), slices.Min(s), median(s)/least, slices.Min(s)/slices.Min(took["floor"]))
		}
	}
	return nil
}

func timed(f func() error) (seconds float64, err error) {
	begin := time.Now()
	err = f()
	return time.Since(begin).Seconds(), err
}

func median(s []float64) float64 {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

func loadAverage() string {
	b, _ := os.ReadFile("/proc/loadavg")
	return strings.Join(strings.Fields(string(b))[:3], " ")
}
