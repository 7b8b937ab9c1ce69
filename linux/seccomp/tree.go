package seccomp

import (
	"maps"
	"math"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// node is a piece of filter that can be emitted: a constant, a lookup or a chain.
type node interface {
	emit(a *assembler) int
}

// constant returns a value.
type constant uint32

// span is a run of numbers, up to the next span's from, that share a node.
type span struct {
	from uint32
	to   node
}

// lookup loads a word of seccomp_data and searches it in spans, the first of which
// starts at 0.
type lookup struct {
	offset uint32
	spans  []span
}

// chain tries rules with conditions one after another.
type chain struct {
	*decision
	wide bool
}

// numbers turns the rules into spans of system call numbers.
func (r *rules) numbers(b *abi, number func(string) (uint32, bool)) []span {
	decisions, named := r.decide(b, number)
	spans := []span{{0, constant(r.otherwise)}}
	next := uint32(0)
	for _, nr := range slices.Sorted(maps.Keys(decisions)) {
		if nr > next {
			spans = append(spans, span{next, constant(r.otherwise)})
		}
		spans = append(spans, span{nr, decisions[nr].node(b.wide)})
		next = nr + 1
	}
	spans = append(spans, span{next, constant(r.otherwise)})
	return merge(withNewer(spans, named, constant(r.newer), constant(r.otherwise)))
}

// withNewer replaces what comes after the last number named, separately for ARM's
// private calls. An ABI of which nothing is named keeps the default.
func withNewer(spans []span, named []uint32, newer, otherwise constant) []span {
	var last, private uint32
	for _, nr := range named {
		if nr >= armPrivate {
			private = max(private, nr)
		} else {
			last = max(last, nr)
		}
	}
	if len(named) == 0 {
		return spans
	}
	at := slices.IndexFunc(spans[1:], func(s span) bool { return s.from > last })
	if at < 0 { // the last number named has the default action
		return append(spans, span{last + 1, newer})
	}
	at++
	out := append(slices.Clone(spans[:at]), span{last + 1, newer})
	if private == 0 {
		return out
	}
	out = append(out, span{armPrivate, otherwise})
	for _, s := range spans[at:] {
		if s.from >= armPrivate {
			out = append(out, s)
		}
	}
	return append(out, span{private + 1, newer})
}

// merge drops empty spans and those that continue the one before.
func merge(spans []span) []span {
	var out []span
	for i, s := range spans {
		if i+1 < len(spans) && spans[i+1].from == s.from {
			continue
		}
		if len(out) > 0 && out[len(out)-1].to == s.to {
			continue
		}
		out = append(out, s)
	}
	return out
}

// node chooses the shape: rules that each compare the same argument by order become a
// lookup, others a chain.
func (d *decision) node(wide bool) node {
	if len(d.rules) == 0 {
		return constant(d.otherwise)
	}
	for _, r := range d.rules {
		if len(r.conds) != 1 || r.conds[0].arg != d.rules[0].conds[0].arg || r.conds[0].op == specs.OpMaskedEqual {
			return &chain{d, wide}
		}
	}
	return d.lookup(wide)
}

// lookup is d as a function of one argument: constant between the values compared with.
func (d *decision) lookup(wide bool) node {
	starts := []uint64{0}
	for _, r := range d.rules {
		v := r.conds[0].value
		if !wide {
			v = uint64(uint32(v))
		}
		starts = append(starts, v>>32<<32, v)
		if v < math.MaxUint64 {
			starts = append(starts, v+1)
		}
		if v>>32 < math.MaxUint32 {
			starts = append(starts, (v>>32+1)<<32)
		}
	}
	slices.Sort(starts)
	starts = slices.Compact(starts)
	arg := d.rules[0].conds[0].arg
	var high []span
	for i := 0; i < len(starts); {
		h := uint32(starts[i] >> 32)
		var low []span
		for ; i < len(starts) && uint32(starts[i]>>32) == h; i++ {
			low = append(low, span{uint32(starts[i]), constant(d.value(starts[i], wide))})
		}
		high = append(high, span{h, lookupOf(lowWord(arg), low)})
	}
	if !wide {
		return high[0].to
	}
	return lookupOf(highWord(arg), high)
}

func lookupOf(offset uint32, spans []span) node {
	spans = merge(spans)
	if len(spans) == 1 {
		return spans[0].to
	}
	return &lookup{offset, spans}
}

// value is what d returns when the argument that all its rules compare is x.
func (d *decision) value(x uint64, wide bool) uint32 {
	for _, r := range d.rules {
		if r.conds[0].holds(x, wide) {
			return r.ret
		}
	}
	return d.otherwise
}

func (c cond) holds(x uint64, wide bool) bool {
	v := c.value
	if !wide {
		v = uint64(uint32(v))
	}
	switch c.op {
	case specs.OpEqualTo:
		return x == v
	case specs.OpNotEqual:
		return x != v
	case specs.OpLessThan:
		return x < v
	case specs.OpLessEqual:
		return x <= v
	case specs.OpGreaterEqual:
		return x >= v
	}
	return x > v
}
