package nft

import (
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
)

// Table is a table of family inet as it shall be: plan as data, see Batch.Replace.
type Table struct {
	Name   string
	Sets   []Set
	Chains []Chain
}

// Set is a named set, a map where Data is given, a verdict map where Data is Verdicts.
type Set struct {
	Name     string
	Key      Type
	Data     Type          // zero: a set
	Interval bool          // its keys are ranges: an element for each begin, and for each end one behind it
	Counts   time.Duration // its elements are made by packets (Often), and go when there was none for so long
	Comment  string
	Elements []Element
}

// maxCounted bounds the elements that packets can make.
const maxCounted = 1 << 16

// Element is a member of a set or map.
type Element struct {
	Key     []byte // of the fields of a concatenation each padded to 4 bytes: see Key
	Value   []byte // of a map
	Verdict *Verdict
	Comment string
	End     bool // of an Interval set: what ends before Key
}

// Chain is a list of rules. A base chain has a Hook.
type Chain struct {
	Name  string
	Hook  *Hook
	Rules []Rule
}

// Hook says where in a packet's way a base chain is (nft(8), "CHAINS").
type Hook struct {
	Type     nftables.ChainType
	Number   *nftables.ChainHook
	Priority *nftables.ChainPriority
}

// The hooks that a firewall of networks needs, at the usual priorities.
var (
	RawPrerouting = &Hook{nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw}
	NATPrerouting = &Hook{nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest}
	NATOutput     = &Hook{nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest}
	// Forward is before the filters of others, which may look for a mark.
	Forward      = &Hook{nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityRef(-5)}
	NATPostroute = &Hook{nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource}
)

// Rule is what happens to a packet for which all matches hold; the last of Do is a verdict.
type Rule struct {
	Comment string // at most 127 bytes are kept
	Do      []Expr
}

// NewRule returns a rule with its reason.
func NewRule(comment string, do ...Expr) Rule { return Rule{comment, do} }

// Type is the type of a set's keys or a map's values.
type Type = nftables.SetDatatype

// The types of fields (nft(8), "DATA TYPES").
var (
	Verdicts = nftables.TypeVerdict
	IfName   = nftables.TypeIFName
	Proto    = nftables.TypeInetProto
	Service  = nftables.TypeInetService
	IPv4     = nftables.TypeIPAddr
	IPv6     = nftables.TypeIP6Addr

	EtherAddr = nftables.TypeEtherAddr
)

// Concat is the type of several fields one after another, at most five.
func Concat(fields ...Type) Type { return nftables.MustConcatSetType(fields...) }

// Key joins fields, each padded to the kernel's 4 bytes.
func Key(fields ...[]byte) []byte {
	var k []byte
	for _, f := range fields {
		k = append(k, f...)
		for len(k)%4 != 0 {
			k = append(k, 0)
		}
	}
	return k
}

// Port returns a port as a field.
func Port(p uint16) []byte { return binaryutil.BigEndian.PutUint16(p) }

// maxComment is what the kernel and nft(8) keep of a comment, without its final zero.
const maxComment = 127

func (r Rule) userData() []byte {
	if r.Comment == "" {
		return nil
	}
	return userdata.AppendString(nil, userdata.TypeComment, cut(r.Comment))
}

func cut(comment string) string { return comment[:min(len(comment), maxComment)] }

func (r Rule) exprs() []expr.Any {
	var all []expr.Any
	for _, e := range r.Do {
		all = append(all, e...)
	}
	return all
}

func (s Set) native(t *nftables.Table) *nftables.Set {
	n := &nftables.Set{Table: t, Name: s.Name, KeyType: s.Key, DataType: s.Data, IsMap: s.Data.Name != "", Interval: s.Interval, Comment: cut(s.Comment)}
	if s.Counts > 0 {
		n.Dynamic, n.HasTimeout, n.Timeout, n.Size = true, true, s.Counts, maxCounted
	}
	n.KeyByteOrder = binaryutil.BigEndian
	if s.Key.Name == IfName.Name {
		n.KeyByteOrder = binaryutil.NativeEndian
	}
	return n
}

func (e Element) native() nftables.SetElement {
	return nftables.SetElement{Key: e.Key, Val: e.Value, VerdictData: e.Verdict, IntervalEnd: e.End, Comment: cut(e.Comment)}
}
