package keeper

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"hoy/lib/fault"
	"hoy/linux/spawn"
)

// The protocol: datagrams of a SOCK_SEQPACKET unix socket, each a header, a JSON
// body, and descriptors beside it (SCM_RIGHTS):
//
//	0       4        6       8            16      20       24
//	+-------+--------+-------+------------+-------+--------+---------------+
//	| magic | version| type  | sequence   | status| length | body (length) |
//	| "HOYK"| u16    | u16   | u64        | u32   | u32    | JSON          |
//	+-------+--------+-------+------------+-------+--------+---------------+
//	little-endian
//
// The engine opens with hello. Each request has a sequence number of its own, and
// every reply carries the type and number of its request; replies come in any
// order. Events have the number 0. The first 8 bytes never change their meaning, so
// that peers of different versions can say so to each other; nor does upgrade, so that
// every engine can replace every keeper.
//
//	engine                              keeper
//	hello {}                       →    {pid, build}                or failure
//	upgrade {program}              →    the connection ends         or failure
//	adopt {id, generation} + fds   →    {}          duplicates that outlived a keeper
//	attach {id, client, …} + socket →   {}          the same of clients
//	adopt {done}                   →    {}          no more of them come
//	spawn {…} memfd, files…        →    {pid, …} + pidfd, stdin     or failure
//	attach {id, …} + socket        →    {}
//	list {}                        →    {held: […]} + pidfds…, status more
//	                                    {held: […]} + pidfds…, status ok
//	ack {id, generation}           →    {}
//	hold {id, generation, …} + fds →    {}          what a container's network needs
//	release {id, generation}       →    {}
//	holds {}                       →    {holds: [{id, generation}…]}
//	names {network, …}             →    {}          changes the names of a network
//	                                    hold and names may come in parts, with more: true
//	                                    in all but the last, which acts
//	                               ←    exit {id, generation, code, …}, number 0
//	                               ←    let go {id, generation, client}, number 0: that client,
//	                                    or the input, has ended: close the duplicate
const (
	magic       = "HOYK"
	wireVersion = 3
	headerSize  = 24
	maxBody     = 96 << 10
	maxFiles    = 253 // SCM_MAX_FD
)

// The types of messages. A reply has isReply added.
const (
	typeHello uint16 = iota + 1
	typeAdopt
	typeSpawn
	typeAttach
	typeResize
	typeCloseStdin
	typeList
	typeAck
	typeUpgrade
	typeHold
	typeRelease
	typeHolds
	typeNames
	typeExit  uint16 = 0x40 // event
	typeLetGo uint16 = 0x41 // event

	isReply uint16 = 0x8000
)

// The status of a reply: requests have statusOK. From statusFault on it is a
// failure of the kind status - statusFault, and the body is a failureBody.
const (
	statusOK    uint32 = 0
	statusMore  uint32 = 1 // another reply to the same request follows
	statusFault uint32 = 16
)

// header is the fixed part of a message.
type header struct {
	version, typ uint16
	seq          uint64
	status       uint32
	length       uint32
}

func (h header) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, h.version)
	b = binary.LittleEndian.AppendUint16(b, h.typ)
	b = binary.LittleEndian.AppendUint64(b, h.seq)
	b = binary.LittleEndian.AppendUint32(b, h.status)
	return binary.LittleEndian.AppendUint32(b, h.length)
}

var errNotKeeper = errors.New("not a message of the keeper's protocol")

// parse splits a datagram. With an error of kind fault.Conflict, h holds what every
// version understands.
func parse(b []byte) (h header, body []byte, err error) {
	if len(b) < 8 || string(b[:4]) != magic {
		return h, nil, errNotKeeper
	}
	h.version = binary.LittleEndian.Uint16(b[4:])
	h.typ = binary.LittleEndian.Uint16(b[6:])
	if h.version != wireVersion {
		if len(b) >= 16 {
			h.seq = binary.LittleEndian.Uint64(b[8:])
		}
		return h, nil, fault.New(fault.Conflict, "the peer speaks version %d of the keeper's protocol, this one version %d: "+
			"engine and keeper must be of the same release; stop the containers and start both anew", h.version, wireVersion)
	}
	if len(b) < headerSize {
		return h, nil, errNotKeeper
	}
	h.seq = binary.LittleEndian.Uint64(b[8:])
	h.status = binary.LittleEndian.Uint32(b[16:])
	h.length = binary.LittleEndian.Uint32(b[20:])
	if int(h.length) != len(b)-headerSize {
		return h, nil, fmt.Errorf("%w: %d bytes of body announced, %d there", errNotKeeper, h.length, len(b)-headerSize)
	}
	return h, b[headerSize:], nil
}

// failureBody is the body of a failed request's reply.
type failureBody struct {
	Error string       `json:"error"`
	Step  *failureStep `json:"step,omitempty"`
}

// failureStep is a spawn.StepError, which the engine puts into words.
type failureStep struct {
	Index  int  `json:"index"`
	Errno  int  `json:"errno"`
	Killed bool `json:"killed,omitempty"`
}

func failure(err error) (status uint32, body failureBody) {
	body.Error = err.Error()
	var se *spawn.StepError
	if errors.As(err, &se) {
		body.Step = &failureStep{se.Index, int(se.Errno), se.Killed}
	}
	return statusFault + uint32(fault.KindOf(err)), body
}

// encode makes a message.
func encode(typ uint16, seq uint64, status uint32, body any) ([]byte, error) {
	j, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	if len(j) > maxBody {
		return nil, fault.New(fault.Invalid, "%d bytes are too much for one message to the keeper", len(j))
	}
	b := make([]byte, 0, headerSize+len(j))
	b = header{wireVersion, typ, seq, status, uint32(len(j))}.append(b)
	return append(b, j...), nil
}
