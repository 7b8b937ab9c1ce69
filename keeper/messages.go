package keeper

import (
	"net/netip"

	"hoy/keeper/names"
)

// Bodies of the messages. Descriptors travel beside them in the order in which the
// comments name them.

type helloReply struct {
	Pid   int    `json:"pid"`
	Build string `json:"build"` // see buildOf
	Life  uint64 `json:"life"`  // tells this keeper from all others; an upgrade does not change it
}

type upgradeBody struct {
	Program string `json:"program"` // path
}

// adoptBody: pidfd, if HasPidfd; console, if HasConsole; writing end of standard
// input, if HasStdin.
type adoptBody struct {
	ID         string `json:"id,omitempty"`
	Generation uint64 `json:"generation,omitempty"`
	HasPidfd   bool   `json:"pidfd,omitempty"`
	HasConsole bool   `json:"console,omitempty"`
	HasStdin   bool   `json:"stdin,omitempty"`
	Begun      bool   `json:"begun,omitempty"` // it has told so, see beginning
	Done       bool   `json:"done,omitempty"`
}

// spawnBody: memfd, Files of the plan, console if Terminal, sockets of Attach.
type spawnBody struct {
	ID         string       `json:"id"`
	Generation uint64       `json:"generation"`
	Files      int          `json:"files"`
	Terminal   bool         `json:"terminal,omitempty"`
	OpenStdin  bool         `json:"openStdin,omitempty"`
	StdinOnce  bool         `json:"stdinOnce,omitempty"`
	Log        *LogConfig   `json:"log,omitempty"`
	Attach     []attachBody `json:"attach,omitempty"`
	Tied       bool         `json:"tied,omitempty"`
	Deadline   int64        `json:"deadline,omitempty"` // nanoseconds
}

// attachBody: the socket. A client that is attached already stays so.
type attachBody struct {
	ID         string `json:"id,omitempty"`
	Generation uint64 `json:"generation,omitempty"` // 0: whichever runs
	Client     uint64 `json:"client,omitempty"`     // tells it from all others
	Stdin      bool   `json:"stdin,omitempty"`
	Stdout     bool   `json:"stdout,omitempty"`
	Stderr     bool   `json:"stderr,omitempty"`
	Mux        bool   `json:"mux,omitempty"`
	DetachKeys []byte `json:"detachKeys,omitempty"`
	Preread    []byte `json:"preread,omitempty"`
	Spectator  bool   `json:"spectator,omitempty"` // it may not hold up the process
}

// processBody: pidfd if HasPidfd; writing end of standard input if HasStdin;
// console if HasConsole; as many output FIFOs as Outputs says.
type processBody struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation"`
	Pid        int    `json:"pid"`
	StartedAt  int64  `json:"startedAt"` // Unix nanoseconds
	Terminal   bool   `json:"terminal,omitempty"`
	OpenStdin  bool   `json:"openStdin,omitempty"`
	Tied       bool   `json:"tied,omitempty"`
	Exit       *Exit  `json:"exit,omitempty"`
	HasPidfd   bool   `json:"hasPidfd,omitempty"`
	HasStdin   bool   `json:"hasStdin,omitempty"`
	HasConsole bool   `json:"hasConsole,omitempty"`
	Outputs    int    `json:"outputs,omitempty"`
}

// listReply: of each process what processBody says, and then the socket of each client.
type listReply struct {
	Held    []processBody `json:"held"`
	Clients []attachBody  `json:"clients,omitempty"`
}

type resizeBody struct {
	ID   string `json:"id"`
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// idBody names a process: closeStdin, ack.
type idBody struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation,omitempty"`
}

// letGoBody tells the engine to close its duplicate of a client's socket, or with
// Client 0 of the standard input, which would otherwise not end.
type letGoBody struct {
	ID         string `json:"id"`
	Generation uint64 `json:"generation"`
	Client     uint64 `json:"client,omitempty"`
}

// holdBody: sockets of the resolver, UDP and TCP, if HasSockets; network namespace if
// HasNetNS; of each port with HasSocket its socket. A hold of many ports comes in parts.
type holdBody struct {
	ID         string        `json:"id"`
	Generation uint64        `json:"generation"`
	Resolver   *resolverBody `json:"resolver,omitempty"`
	Ports      []portBody    `json:"ports,omitempty"`
	Part       int           `json:"part,omitempty"`
	More       bool          `json:"more,omitempty"` // another part follows
}

type resolverBody struct {
	HasSockets bool             `json:"sockets,omitempty"`
	HasNetNS   bool             `json:"netns,omitempty"`
	View       names.View       `json:"view"`
	Servers    []netip.AddrPort `json:"servers,omitempty"`
}

type portBody struct {
	Proto     string         `json:"proto"`
	Host      netip.AddrPort `json:"host"`
	Target    netip.AddrPort `json:"target"`
	HasSocket bool           `json:"socket,omitempty"`
	Everybody bool           `json:"everybody,omitempty"`
}

// namesBody changes the names of a network; many come in parts.
type namesBody struct {
	Network string        `json:"network"`
	Replace bool          `json:"replace,omitempty"`
	Set     []names.Entry `json:"set,omitempty"`
	Remove  []string      `json:"remove,omitempty"`
	Part    int           `json:"part,omitempty"`
	More    bool          `json:"more,omitempty"` // another part follows
}

func (p portBody) key() portKey { return portKey{p.Proto, p.Host} }

type holdsReply struct {
	Holds []HeldNetwork `json:"holds,omitempty"`
}

type empty struct{}
