package hostfw

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hoy/network/firewall"
	"hoy/test/lan"
	"hoy/test/rootful"
)

func TestMain(m *testing.M) { os.Exit(rootful.Main(m)) }

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
	return string(out)
}

const table = "hoy-hoy0"

// engine is a firewall that follows the host's, as the engine has it.
type engine struct {
	*firewall.Firewall
	t *testing.T
}

func start(t *testing.T) *engine {
	t.Helper()
	f, err := firewall.Open(firewall.Options{Table: table})
	lan.Must(t, err)
	e := &engine{f, t}
	network := firewall.Network{Name: "bridge", Link: lan.Hoy0.Link, Subnet: lan.Hoy0.Subnet, Subnet6: lan.Hoy0.Subnet6}
	lan.Must(t, f.Sync([]firewall.Network{network}, ports()))
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		ended <- Host{}.Follow(ctx, func(s State) {
			_, err := Host{}.Pass(table)
			if err := errors.Join(err, f.SetPolicy(s.Policy)); err != nil {
				t.Error(err)
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		lan.Must(t, <-ended)
		lan.Must(t, Host{}.Unpass(table))
		lan.Must(t, f.Remove())
	})
	return e
}

// ports are those of web, by TCP and UDP: 8080 and 8081.
func ports() []firewall.Port {
	var all []firewall.Port
	for _, proto := range []string{"tcp", "udp"} {
		for _, n := range []string{":8080", ":8081"} {
			all = append(all,
				firewall.Port{Proto: proto, Link: "hoy0", Host: addrPort("0.0.0.0" + n), Container: addrPort("172.17.0.2:80")},
				firewall.Port{Proto: proto, Link: "hoy0", Host: addrPort("[::]" + n), Container: addrPort("[fd00:17::2]:80")})
		}
	}
	return all
}

// becomes waits until peers reach what they shall, and nothing else:
// "tcp peer 192.0.2.1:8080" is that the peer reaches it, "tcp far … no" that far does not.
func (e *engine) becomes(w lan.LAN, expectations ...string) {
	e.t.Helper()
	var wrong []string
	for end := time.Now().Add(lan.Patience); time.Now().Before(end); {
		wrong = nil
		for _, x := range expectations {
			f := strings.Fields(x)
			h := map[string]lan.Host{"peer": w.Peer, "far": w.Far, "host": w.Host, "web": w.Web, "db": w.DB}[f[1]]
			answered := h.Ask(f[0], f[2], lan.Silence) != ""
			if refused := len(f) > 3; answered == refused {
				wrong = append(wrong, x)
			}
		}
		if len(wrong) == 0 {
			return
		}
	}
	e.t.Errorf("not so: %s\n%s", strings.Join(wrong, "; "), run(e.t, "nft", "list", "ruleset"))
}
