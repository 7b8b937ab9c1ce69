package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hoy/test/built"
	"hoy/test/busybox"
	"hoy/test/dockerd"
)

// A builder is what builds images here.
type builder struct {
	name    string
	command func(args ...string) *exec.Cmd
}

// aBuild is what is measured: prepare comes before, and counts for nothing.
type aBuild struct {
	what    string
	prepare func(b builder) error
	args    []string
}

// builds measures builds by hoy and by docker, with its classic builder and with BuildKit,
// in turns. Steps have no network, which leaves the host's firewall alone.
func builds(reference, buildx string, rounds int) error {
	dir, err := os.MkdirTemp("", "hoy-bench-builds")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	e, err := startEngine()
	if err != nil {
		return err
	}
	defer e.close()
	all := []builder{{"hoy", e.hoy}}
	peers, end, err := dockerBuilders(dir, reference, buildx)
	if err != nil {
		return err
	}
	defer end()
	all = append(all, peers...)
	image, err := busybox.Tar()
	if err != nil {
		return err
	}
	for _, b := range all[:min(len(all), 2)] { // docker's builders are one engine's
		c := b.command("import", "-", "busybox")
		c.Stdin = bytes.NewReader(image)
		if _, err := output(c); err != nil {
			return err
		}
	}
	todo, err := buildsToDo(dir)
	if err != nil {
		return err
	}
	fmt.Printf("\n== builds, in turns, %d times; s, median (fastest)\nload average before: %s\n", rounds, loadAverage())
	for _, w := range todo {
		if err := compareBuilds(w, all, rounds); err != nil {
			return err
		}
	}
	fmt.Printf("load average after: %s\n", loadAverage())
	return nil
}

func compareBuilds(w aBuild, all []builder, rounds int) error {
	took := map[string][]float64{}
	for range rounds {
		for _, b := range all {
			if err := w.prepare(b); err != nil {
				return err
			}
			unix.Sync()
			seconds, err := timed(func() error {
				_, err := output(b.command(slices.Concat([]string{"build", "-q", "--network", "none"}, w.args)...))
				return err
			})
			if err != nil {
				return fmt.Errorf("%s by %s: %w", w.what, b.name, err)
			}
			took[b.name] = append(took[b.name], seconds)
		}
	}
	for _, b := range all {
		s := took[b.name]
		line := fmt.Sprintf("%-34s %-16s %7.3f (%.3f)", w.what, b.name, median(s), slices.Min(s))
		if b.name != "hoy" {
			line += fmt.Sprintf("   hoy takes %.2f of it (fastest: %.2f)", median(took["hoy"])/median(s), slices.Min(took["hoy"])/slices.Min(s))
		}
		fmt.Println(line)
	}
	return nil
}

// dockerBuilders are docker's client with both of its builders, on the reference engine.
// buildx is the plugin that one of them needs.
func dockerBuilders(dir, reference, buildx string) (list []builder, end func(), err error) {
	end = func() {}
	if reference == "" {
		fmt.Println("docker: no engine (make reference)")
		return nil, end, nil
	}
	client, err := built.Docker.Build()
	if err != nil {
		return nil, end, err
	}
	d, err := dockerd.Start(reference, dir+"/d", "--bridge", "none", "--iptables=false", "--ip6tables=false")
	if err != nil {
		return nil, end, err
	}
	by := func(kit string) func(args ...string) *exec.Cmd {
		return func(args ...string) *exec.Cmd {
			c := exec.Command(client, append([]string{"--config", dir + "/docker", "-H", d.Host}, args...)...)
			c.Env = append(os.Environ(), "DOCKER_BUILDKIT="+kit)
			return c
		}
	}
	list = []builder{{"docker classic", by("0")}}
	if buildx == "" {
		fmt.Println("docker buildx: not here (make interop gets it)")
		return list, func() { d.Stop() }, nil
	}
	plugins := filepath.Join(dir, "docker", "cli-plugins")
	if err := os.MkdirAll(plugins, 0o755); err != nil {
		return nil, end, err
	}
	if err := os.Symlink(buildx, filepath.Join(plugins, "docker-buildx")); err != nil {
		return nil, end, err
	}
	list = append(list, builder{"docker buildx", by("1")})
	return list, func() { d.Stop() }, nil
}

// buildsToDo makes the contexts: ten steps with small files, and 200 MB in 2,000 files.
func buildsToDo(dir string) ([]aBuild, error) {
	random := rand.New(rand.NewChaCha8([32]byte{1}))
	fill := func(name string, size int) error {
		text := make([]byte, size)
		for i := range text {
			text[i] = byte(random.Uint32())
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, text, 0o644)
	}
	steps, big := filepath.Join(dir, "steps"), filepath.Join(dir, "big")
	var text strings.Builder
	text.WriteString("FROM busybox\n")
	for i := range 5 {
		fmt.Fprintf(&text, "COPY f%d /f%d\nRUN true\n", i, i)
		if err := fill(fmt.Sprintf("%s/f%d", steps, i), 100_000); err != nil {
			return nil, err
		}
	}
	for i := range 2000 {
		if err := fill(fmt.Sprintf("%s/d%d/f%d", big, i%40, i), 100_000); err != nil {
			return nil, err
		}
	}
	for name, text := range map[string]string{steps: text.String(), big: "FROM busybox\nCOPY . /big\n"} {
		if err := os.WriteFile(filepath.Join(name, "Dockerfile"), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	nothing := func(builder) error { return nil }
	built := func(args ...string) func(b builder) error {
		return func(b builder) error {
			_, err := output(b.command(slices.Concat([]string{"build", "-q", "--network", "none"}, args)...))
			return err
		}
	}
	return []aBuild{
		{"10 steps, without cache", nothing, []string{"--no-cache", "-t", "steps", steps}},
		{"10 steps, cached", built("-t", "steps", steps), []string{"-t", "steps", steps}},
		{"200 MB, first time", forget, []string{"-t", "big", big}},
		{"200 MB, cached", built("-t", "big", big), []string{"-t", "big", big}},
		{"200 MB, one file changed", func(b builder) error {
			if err := built("-t", "big", big)(b); err != nil {
				return err
			}
			return fill(big+"/d0/f0", 100_000)
		}, []string{"-t", "big", big}},
	}, nil
}

// forget takes away what a build of the large context would find: the image, whose layers
// the classic builder's cache is, and BuildKit's.
func forget(b builder) error {
	b.command("rmi", "-f", "big").Run() // there may be none
	_, err := output(b.command("builder", "prune", "-af"))
	return err
}
