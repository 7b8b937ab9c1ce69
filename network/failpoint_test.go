package network

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"hoy/lib/failpoint"
	"hoy/linux/netlink"
	"hoy/network/firewall"
	"hoy/test/eventually"
	"hoy/test/rootful"
)

// childRoot names the root of the networks in the process that TestFailpoints breaks.
const childRoot = "HOY_TEST_NETWORKS"

// engine is the networks with what an engine remembers of its containers.
type engine struct {
	root       string
	n          *Networks
	rules      *firewall.Firewall
	keeper     *holder
	containers map[string]*remembered
}

type remembered struct {
	Sandbox *Sandbox
	PID     int // of a process in the namespace
}

func openEngine(root string) (*engine, error) {
	e := &engine{root: root, keeper: newHolder(), containers: map[string]*remembered{}}
	var err error
	if e.rules, err = firewall.Open(firewall.Options{Table: "hoy-hoytest0"}); err != nil {
		return nil, err
	}
	e.n, err = Open(context.Background(), Options{Root: root, EngineID: "test", Bridge: "hoytest0", BIP: netip.MustParsePrefix("10.213.0.1/24"), Ready: -1, Firewall: e.rules, Keeper: e.keeper})
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(e.path())
	if err == nil {
		err = json.Unmarshal(b, &e.containers)
	} else if os.IsNotExist(err) {
		err = nil
	}
	for id, c := range e.containers {
		ns, gone := e.netns(id)
		if gone != nil {
			delete(e.containers, id) // it has ended meanwhile
			continue
		}
		ns.Close()
		if err == nil {
			err = e.n.Adopt(*c.Sandbox)
		}
	}
	if err != nil {
		return nil, err
	}
	e.n.Settle(context.Background(), e.netns)
	for id, c := range e.containers {
		c.Sandbox = e.n.Sandbox(id)
	}
	return e, e.n.Start()
}

func (e *engine) path() string { return filepath.Join(e.root, "containers.json") }

func (e *engine) netns(id string) (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/%d/ns/net", e.containers[id].PID))
}

// remember saves how a container is attached.
func (e *engine) remember(id string, s *Sandbox, err error) error {
	if err != nil {
		return err
	}
	if e.containers[id] == nil {
		e.containers[id] = &remembered{}
		err = netlink.In(s.NetNS, func() error {
			sleep := exec.Command("sleep", "300")
			err := sleep.Start()
			e.containers[id].PID = sleep.Process.Pid
			return err
		})
		s.Close()
	}
	e.containers[id].Sandbox = s
	if err == nil {
		err = e.save()
	}
	return err
}

func (e *engine) save() error {
	b, err := json.Marshal(e.containers)
	if err != nil {
		return err
	}
	return os.WriteFile(e.path(), b, 0o600)
}

func (e *engine) end(id string) error {
	if c := e.containers[id]; c != nil {
		syscall.Kill(c.PID, syscall.SIGKILL)
	}
	s := e.n.Sandbox(id)
	e.n.Detach(id)
	delete(e.containers, id)
	if s != nil {
		eventually.Is(func() bool {
			return !slices.ContainsFunc(s.Endpoints, func(p Endpoint) bool { return slices.Contains(linkNames(), p.Link) })
		})
	}
	return e.save()
}

// step is one operation.
type step struct {
	name string
	do   func(e *engine) error
}

func steps() []step {
	ctx := context.Background()
	yes := true
	port := PortRequest{Proto: "tcp", Container: 80, First: 8080, Last: 8090}
	connect := func(id string, r EndpointRequest) func(*engine) error {
		return func(e *engine) error {
			ns, err := e.netns(id)
			if err != nil {
				return err
			}
			defer ns.Close()
			s, err := e.n.Connect(ctx, id, ns, r)
			return e.remember(id, s, err)
		}
	}
	disconnect := func(id, network string) func(*engine) error {
		return func(e *engine) error {
			ns, err := e.netns(id)
			if err != nil {
				return err
			}
			defer ns.Close()
			s, err := e.n.Disconnect(ctx, id, ns, network)
			return e.remember(id, s, err)
		}
	}
	create := func(r CreateRequest) func(*engine) error {
		return func(e *engine) error { _, _, err := e.n.Create(ctx, r); return err }
	}
	start := func(id string, r AttachRequest) func(*engine) error {
		return func(e *engine) error {
			r.ContainerID = id
			s, err := e.n.Attach(ctx, r)
			return e.remember(id, s, err)
		}
	}
	return []step{
		{"create back", create(CreateRequest{Name: "back"})},
		{"create front", create(CreateRequest{Name: "front", IPv6: &yes, Options: map[string]string{"com.docker.network.bridge.gateway_mode_ipv6": "routed"}})},
		{"start a", start("a", AttachRequest{Endpoints: []EndpointRequest{{Network: "back", Names: []string{"a"}}, {Network: "bridge"}}, Publish: []PortRequest{port}})},
		{"start b", start("b", on("b", EndpointRequest{}))},
		{"connect b", connect("b", EndpointRequest{Network: "back", Names: []string{"b"}})},
		{"publish", func(e *engine) error {
			s, err := e.n.Publish(ctx, "a", []PortRequest{{Proto: "udp", Container: 53}}, nil)
			return e.remember("a", s, err)
		}},
		{"connect a", connect("a", EndpointRequest{Network: "front", Names: []string{"a"}, Priority: 5})},
		{"disconnect a", disconnect("a", "front")},
		{"disconnect b", disconnect("b", "back")},
		{"stop a", func(e *engine) error { return e.end("a") }},
		{"remove front", func(e *engine) error { return e.n.Remove(ctx, "front") }},
	}
}

// describe says what there is, in the kernel and elsewhere.
func (e *engine) describe() string {
	var b strings.Builder
	for _, net := range e.n.List() {
		fmt.Fprintln(&b, "network", net.Name, e.n.Usage(net.ID), len(e.n.Endpoints(net.ID)), e.keeper.namesOf(net.ID))
	}
	fmt.Fprintln(&b, "links", linkNames())
	fmt.Fprintln(&b, "rules", e.rules.Ports())
	file, _ := os.ReadFile(e.n.path())
	fmt.Fprintln(&b, "record", string(file))
	for _, id := range []string{"a", "b"} {
		s := e.n.Sandbox(id)
		if s == nil {
			continue
		}
		text, _ := json.Marshal(s)
		fmt.Fprintln(&b, "container", id, string(text), e.keeper.ports(id))
		if ns, err := e.netns(id); err == nil {
			fmt.Fprintln(&b, inNamespace(ns))
			ns.Close()
		}
	}
	return b.String()
}

func linkNames() (names []string) {
	links, _ := net.Interfaces()
	for _, l := range links {
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}

// inNamespace says which links and default routes a namespace has.
func inNamespace(ns *os.File) string {
	names, _ := netlink.Names(ns)
	slices.Sort(names)
	out := ""
	netlink.In(ns, func() error {
		for _, family := range []string{"-4", "-6"} {
			b, _ := exec.Command("ip", family, "route", "show", "default").CombinedOutput()
			out += string(b)
		}
		return nil
	})
	return fmt.Sprint(names, " ", out)
}

// TestFailpointChild is the process that TestFailpoints breaks: it takes the steps until
// one fails. What has failed must have left nothing.
func TestFailpointChild(t *testing.T) {
	root := os.Getenv(childRoot)
	if root == "" {
		return // only as a child
	}
	e, err := openEngine(root)
	if err != nil && strings.Contains(os.Getenv("HOY_FAILPOINT"), string(failpoint.NetworkRestored)) {
		fmt.Println("failed at the start")
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps() {
		before := e.describe()
		if err := s.do(e); err != nil {
			if !eventually.Is(func() bool { return e.describe() == before }) {
				t.Errorf("%s: %v\nbefore:\n%s\nafter:\n%s", s.name, err, before, e.describe())
			}
			fmt.Println("failed at", s.name)
			return
		}
	}
	fmt.Println("failed nowhere")
}

// TestFailpoints lets the engine's networks fail, and be killed, at every step of every
// operation; the next engine finds them.
func TestFailpoints(t *testing.T) {
	for _, p := range failpoint.Network {
		for _, mode := range []string{"error", "kill"} {
			t.Run(string(p)+"="+mode, func(t *testing.T) {
				rootful.Check(t)
				root := t.TempDir()
				child := exec.Command("/proc/self/exe", "-test.run=^TestFailpointChild$", "-test.v")
				child.Env = append(os.Environ(), childRoot+"="+root, "HOY_FAILPOINT="+string(p)+"="+mode)
				out, err := child.CombinedOutput()
				killed := child.ProcessState.Sys().(syscall.WaitStatus).Signaled()
				if err != nil && !(killed && mode == "kill") {
					t.Errorf("%v\n%s", err, out)
				}
				silent := mode == "error" && (p == failpoint.NetworkUnlinked || p == failpoint.NetworkUnpublished)
				if mode == "kill" && !killed || mode == "error" && !silent && strings.Contains(string(out), "failed nowhere") {
					t.Errorf("%s was not reached:\n%s", p, out)
				}
				recover(t, root)
			})
		}
	}
}

// recover opens the networks of an engine that was killed, and clears up.
func recover(t *testing.T, root string) {
	t.Helper()
	e, err := openEngine(root)
	if err != nil {
		t.Error(err)
		clearNamespace(t, root)
		return
	}
	e.agrees(t)
	for id := range e.containers {
		if err := e.end(id); err != nil {
			t.Error(err)
		}
	}
	for _, net := range e.n.List() {
		if !net.Predefined() {
			if err := e.n.Remove(context.Background(), net.ID); err != nil {
				t.Errorf("remove %s: %v", net.Name, err)
			}
		}
	}
	if !e.keeper.empty() {
		t.Errorf("held for nobody: %v, %v", e.keeper.holds, e.keeper.names)
	}
	if err := e.n.Close(); err != nil {
		t.Error(err)
	}
}

// agrees compares what the records say with what there is.
func (e *engine) agrees(t *testing.T) {
	t.Helper()
	want := []string{"lo"}
	for _, net := range e.n.List() {
		if net.Link != "" {
			want = append(want, net.Link)
		}
	}
	var published []firewall.Port
	for id := range e.containers {
		s := e.n.Sandbox(id)
		if s == nil {
			continue
		}
		ns, err := e.netns(id)
		if err != nil {
			continue // it has ended
		}
		links := []string{"lo"}
		for _, p := range s.Endpoints {
			want = append(want, p.Link)
			links = append(links, p.Interface)
		}
		slices.Sort(links)
		ways := ""
		for _, w := range e.n.ways(s.Endpoints) {
			ways += fmt.Sprintf("default via %s dev %s ", w.Gateway, w.Link)
		}
		expected := fmt.Sprint(links, " ", ways)
		if got := strings.Join(strings.Fields(strings.ReplaceAll(strings.ReplaceAll(inNamespace(ns), "metric 1024 ", ""), "pref medium", "")), " "); got != strings.TrimSpace(expected) {
			t.Errorf("%s has %q, its record says %q", id, got, expected)
		}
		ns.Close()
		published = append(published, forwarded(s.Ports)...)
		if e4, _ := gateways(s.Endpoints); e4 != nil && e4.Driver == "bridge" && len(s.Ports) < 2*len(s.Publish) {
			t.Errorf("of %s are published %v, asked for %v", id, s.Ports, s.Publish)
		}
		if got := len(e.keeper.ports(id)); got != len(onHost(s.Ports)) {
			t.Errorf("of %s the keeper holds %v, published are %v", id, e.keeper.ports(id), s.Ports)
		}
	}
	if got := e.rules.Ports(); len(got) != len(published) {
		t.Errorf("forwarded are %v, published %v", got, published)
	}
	slices.Sort(want)
	if !eventually.Is(func() bool { return slices.Equal(linkNames(), want) }) {
		t.Errorf("links %v, want %v", linkNames(), want)
	}
}

// clearNamespace ends the containers of a root that cannot be opened.
func clearNamespace(t *testing.T, root string) {
	b, _ := os.ReadFile(filepath.Join(root, "containers.json"))
	var all map[string]*remembered
	json.Unmarshal(b, &all)
	for _, c := range all {
		unix.Kill(c.PID, unix.SIGKILL)
	}
	t.Log("left running in the test's namespace: " + strconv.Itoa(len(all)))
}
