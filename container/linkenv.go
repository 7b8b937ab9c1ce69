package container

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	apicontainer "github.com/moby/moby/api/types/container"
	apinetwork "github.com/moby/moby/api/types/network"
)

// configWithLinks is the container's configuration, with the variables of its links on the
// default network below its own where the engine gives those.
func (c *Containers) configWithLinks(rec *record) *apicontainer.Config {
	if !c.o.LinkVariables || len(rec.pinnedLinks()) == 0 {
		return rec.Config
	}
	var env []string
	for _, l := range rec.pinnedLinks() {
		id, alias := splitLink(l)
		k, err := c.index.get(id)
		if err != nil {
			continue
		}
		other := k.rec()
		if e := other.State.endpoint("bridge"); e != nil && e.Address.IsValid() {
			env = append(env, linkVariables(rec.Name, alias, e.Address.Addr().String(), other.Config)...)
		}
	}
	own := *rec.Config
	own.Env = append(env, own.Env...)
	return &own
}

// linkVariables are docker's for a link: ALIAS_PORT, ALIAS_PORT_80_TCP and its parts for
// each exposed port, ALIAS_NAME, and the linked container's own as ALIAS_ENV_….
func linkVariables(parent, alias, address string, other *apicontainer.Config) (env []string) {
	prefix := strings.ReplaceAll(strings.ToUpper(alias), "-", "_")
	ports := slices.SortedFunc(maps.Keys(other.ExposedPorts), func(a, b apinetwork.Port) int {
		return cmp.Or(-boolOrder(a.Proto() == apinetwork.TCP, b.Proto() == apinetwork.TCP), cmp.Compare(a.Proto(), b.Proto()), cmp.Compare(a.Num(), b.Num()))
	})
	at := func(p apinetwork.Port) string { return fmt.Sprintf("%s://%s:%d", p.Proto(), address, p.Num()) }
	name := func(p apinetwork.Port) string {
		return fmt.Sprintf("%s_PORT_%d_%s", prefix, p.Num(), strings.ToUpper(string(p.Proto())))
	}
	if len(ports) > 0 {
		env = append(env, prefix+"_PORT="+at(ports[0]))
	}
	for i := 0; i < len(ports); {
		first := i
		for next := true; next; i++ {
			p := ports[i]
			env = append(env, name(p)+"="+at(p), name(p)+"_ADDR="+address, fmt.Sprintf("%s_PORT=%d", name(p), p.Num()), name(p)+"_PROTO="+string(p.Proto()))
			next = i+1 < len(ports) && ports[i+1].Proto() == p.Proto() && ports[i+1].Num() == p.Num()+1
		}
		if a, z := ports[first], ports[i-1]; a != z {
			env = append(env, name(a)+"_START="+at(a), fmt.Sprintf("%s_PORT_START=%d", name(a), a.Num()), name(a)+"_END="+at(z), fmt.Sprintf("%s_PORT_END=%d", name(a), z.Num()))
		}
	}
	env = append(env, fmt.Sprintf("%s_NAME=/%s/%s", prefix, parent, alias))
	for _, e := range other.Env {
		if name, value, set := strings.Cut(e, "="); set && name != "HOME" && name != "PATH" {
			env = append(env, fmt.Sprintf("%s_ENV_%s=%s", prefix, name, value))
		}
	}
	return env
}
