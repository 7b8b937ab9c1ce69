package format

import (
	"fmt"
	"net/netip"
	"reflect"
	"text/template/parse"

	"hoy/cli/terminal"
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

// printable is a value as it may be printed on a terminal: itself, if its text has no
// control characters. Images and containers choose labels, commands and names of files.
func printable(v any) any {
	text, ok := v.(string)
	if !ok {
		shown := reflect.ValueOf(v)
		if shown.Kind() == reflect.Pointer && !shown.IsNil() { // as templates print them
			if _, ok := v.(fmt.Stringer); !ok {
				shown = shown.Elem()
			}
		}
		if !shown.IsValid() || !shown.CanInterface() {
			return v
		}
		text = fmt.Sprint(shown.Interface())
	}
	if p := terminal.Printable(text); p != text {
		return p
	}
	return v
}

// showPlainly appends plain to what a template asks, and shown to what it prints, as
// html/template does with its own functions.
func showPlainly(n parse.Node) {
	branch := func(b *parse.BranchNode) {
		pipe(b.Pipe, "plain")
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
		pipe(n.Pipe, "shown")
	case *parse.IfNode:
		branch(&n.BranchNode)
	case *parse.WithNode:
		branch(&n.BranchNode)
	case *parse.RangeNode:
		showPlainly(n.List)
		showPlainly(n.ElseList)
	}
}

func pipe(p *parse.PipeNode, function string) {
	if len(p.Decl) == 0 {
		p.Cmds = append(p.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos, Args: []parse.Node{parse.NewIdentifier(function).SetPos(p.Pos)}})
	}
}
