package format

import (
	"net/netip"
	"text/template/parse"
)

// plain is a value as templates have always seen it: an address that there is not is the
// empty text, which prints as nothing and is false, where Go's zero address would print as
// "invalid IP" and be true.
func plain(v any) any {
	switch a := v.(type) {
	case netip.Addr:
		if !a.IsValid() {
			return ""
		}
	case netip.Prefix:
		if !a.IsValid() {
			return ""
		}
	}
	return v
}

// showPlainly appends plain to what a template prints and asks, as html/template does with
// its own functions.
func showPlainly(n parse.Node) {
	branch := func(b *parse.BranchNode) {
		pipe(b.Pipe)
		showPlainly(b.List)
		showPlainly(b.ElseList)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, c := range n.Nodes {
			showPlainly(c)
		}
	case *parse.ActionNode:
		pipe(n.Pipe)
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		showPlainly(n.List)
		showPlainly(n.ElseList)
	}
}

func pipe(p *parse.PipeNode) {
	if len(p.Decl) == 0 {
		p.Cmds = append(p.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos, Args: []parse.Node{parse.NewIdentifier("plain").SetPos(p.Pos)}})
	}
}
