package names

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"golang.org/x/net/dns/dnsmessage"
)

// ttl is how long an answer may be kept, in seconds: a container that is started again
// may have another address, and asking costs little.
const ttl = 5

const (
	minUDP    = 512   // what every client takes (RFC 1035, 2.3.4)
	ednsSize  = 4096  // what we take (RFC 6891, 6.2.3)
	optLength = 11    // of the record that says so
	maxTCP    = 65535 // of a message with a length before it

	typeAXFR, typeIXFR = dnsmessage.TypeAXFR, dnsmessage.Type(251)
)

// query is a question of a client's.
type query struct {
	header   dnsmessage.Header
	question dnsmessage.Question
	odd      []byte // the question as it came, where a label of its name has a dot in it: question.Name is empty
	edns     bool
	limit    int // bytes of an answer
}

// parse reads a message. With an rcode, it is to be answered with that: there is no
// question in it that could be answered. Without, and not ok, with silence.
func parse(msg []byte, limit int) (q query, rcode dnsmessage.RCode, ok bool) {
	var p dnsmessage.Parser
	var err error
	q.limit = limit
	if q.header, err = p.Start(msg); err != nil || q.header.Response {
		return q, 0, false
	}
	if q.header.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, false
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return q, dnsmessage.RCodeFormatError, false
	}
	if q.question, err = p.Question(); err != nil {
		q.readOdd(msg)
	}
	if err != nil && q.odd == nil || p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return q, dnsmessage.RCodeFormatError, false
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			break
		}
		if err != nil || p.SkipAdditional() != nil {
			return q, dnsmessage.RCodeFormatError, false
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.limit = max(q.limit, int(h.Class))
		}
	}
	if t := q.question.Type; t == typeAXFR || t == typeIXFR { // many messages, and nothing for a resolver
		return q, dnsmessage.RCodeNotImplemented, false
	}
	return q, 0, true
}

// readOdd reads a question that is well formed, although dnsmessage does not take it: its
// name has a label with a dot in it, as those of services may ("Dr. Who's printer", RFC 6763,
// 4.3). No container has such a name, but others may know it.
func (q *query) readOdd(msg []byte) {
	const head, maxName, fixed = 12, 255, 4 // bytes: of a message's header, of a name, of type and class
	end := questionEnd(msg)
	if end == 0 || end-head-fixed > maxName {
		return
	}
	q.odd = msg[head:end]
	q.question.Type = dnsmessage.Type(binary.BigEndian.Uint16(msg[end-4:]))
	q.question.Class = dnsmessage.Class(binary.BigEndian.Uint16(msg[end-2:]))
}

// Answer appends the answer to a message to to. nil: none of its own. Then others are to
// be asked, if forward says so, and otherwise nobody expects one. limit is how long the
// answer may be, unless the message allows more: minUDP or maxTCP.
func (v *View) Answer(t *Tables, to, msg []byte, limit int) (reply []byte, forward bool) {
	q, rcode, ok := parse(msg, limit)
	if !ok {
		if rcode == 0 {
			return nil, false
		}
		return q.fail(to, rcode), false
	}
	if q.odd != nil {
		return nil, true
	}
	var lower [255]byte
	name := lowerCase(lower[:0], q.question.Name.Data[:q.question.Name.Length])
	if q.question.Class == dnsmessage.ClassINET || q.question.Class == dnsmessage.ClassANY {
		if q.question.Type == dnsmessage.TypePTR || q.question.Type == dnsmessage.TypeALL {
			if a, ok := reversed(name); ok {
				if host := v.name(t, a); host != "" {
					return q.pointer(to, host), false
				}
			}
		}
		var room [16]netip.Addr
		if as, known := v.addresses(t, name, wanted(q.question.Type), room[:0]); known {
			return q.addresses(to, as), false
		}
	}
	return nil, true
}

// wanted are the addresses that a type of record asks for. Another type of a known name
// has no records, which must not be asked of others: that the name does not exist, which
// they would say, is not so.
func wanted(t dnsmessage.Type) families {
	all := t == dnsmessage.TypeALL
	return families{all || t == dnsmessage.TypeA, all || t == dnsmessage.TypeAAAA}
}

func lowerCase(to, name []byte) []byte {
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	for _, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		to = append(to, c)
	}
	return to
}

// Fail appends the answer that a message failed: dnsmessage.RCodeServerFailure.
func Fail(to, msg []byte, rcode dnsmessage.RCode) []byte {
	q, _, _ := parse(msg, maxTCP)
	return q.fail(to, rcode)
}

func (q *query) fail(to []byte, rcode dnsmessage.RCode) []byte {
	if q.odd != nil {
		return q.failOdd(to, rcode)
	}
	b := q.begin(to, rcode, false)
	return q.end(&b)
}

// failOdd is fail for a question that dnsmessage cannot write either.
func (q *query) failOdd(to []byte, rcode dnsmessage.RCode) []byte {
	odd := *q
	odd.odd = nil
	msg := odd.fail(nil, rcode)
	const head = 12
	if len(msg) < head {
		return nil
	}
	msg[5] = 1 // question
	return append(append(append(to, msg[:head]...), q.odd...), msg[head:]...)
}

// begin starts an answer. There is a question in it if there was one.
func (q *query) begin(to []byte, rcode dnsmessage.RCode, truncated bool) dnsmessage.Builder {
	b := dnsmessage.NewBuilder(to, dnsmessage.Header{ID: q.header.ID, Response: true, OpCode: q.header.OpCode, Truncated: truncated,
		RecursionDesired: q.header.RecursionDesired, CheckingDisabled: q.header.CheckingDisabled, RecursionAvailable: true, RCode: rcode})
	b.EnableCompression()
	if q.question.Name.Length > 0 {
		b.StartQuestions()
		b.Question(q.question)
	}
	b.StartAnswers()
	return b
}

func (q *query) end(b *dnsmessage.Builder) []byte {
	if q.edns {
		var h dnsmessage.ResourceHeader
		h.SetEDNS0(ednsSize, 0, false)
		b.StartAdditionals()
		b.OPTResource(h, dnsmessage.OPTResource{})
	}
	msg, err := b.Finish()
	if err != nil {
		return nil
	}
	return msg
}

func (q *query) record() dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
}

// addresses answers with as in a random order, so that clients that take the first are
// spread over all. A counter would not do: many ask for A and AAAA in turn.
func (q *query) addresses(to []byte, as []netip.Addr) []byte {
	rand.Shuffle(len(as), func(i, j int) { as[i], as[j] = as[j], as[i] })
	n := q.fit(as)
	b := q.begin(to, 0, n < len(as))
	for _, a := range as[:n] {
		if a.Is4() {
			b.AResource(q.record(), dnsmessage.AResource{A: a.As4()})
		} else {
			b.AAAAResource(q.record(), dnsmessage.AAAAResource{AAAA: a.As16()})
		}
	}
	return q.end(&b)
}

// fit returns how many of as an answer has room for.
func (q *query) fit(as []netip.Addr) (n int) {
	const head, name = 12, 2 // the name of a record is a pointer to the question's
	room := q.limit - head - (int(q.question.Name.Length) + 1 + 4)
	if q.edns {
		room -= optLength
	}
	for _, a := range as {
		if room -= name + 10 + a.BitLen()/8; room < 0 {
			return n
		}
		n++
	}
	return n
}

func (q *query) pointer(to []byte, host string) []byte {
	name, err := dnsmessage.NewName(host + ".")
	if err != nil {
		return q.fail(to, dnsmessage.RCodeServerFailure)
	}
	b := q.begin(to, 0, false)
	if b.PTRResource(q.record(), dnsmessage.PTRResource{PTR: name}) != nil {
		return q.fail(to, dnsmessage.RCodeServerFailure)
	}
	return q.end(&b)
}
