// Package cleanup collects the undo steps of an operation that may fail half-way.
package cleanup

// Stack holds undo steps. Use it as
//
//	var undo cleanup.Stack
//	defer undo.Run()
//	... acquire a ...
//	undo.Add(func() { release(a) })
//	... everything worked ...
//	undo.Release()
//
// The zero value is ready to use. A Stack is not safe for concurrent use.
type Stack struct{ steps []func() }

// Add pushes an undo step.
func (s *Stack) Add(f func()) { s.steps = append(s.steps, f) }

// Run runs the steps, last added first, and forgets them.
func (s *Stack) Run() {
	for i := len(s.steps) - 1; i >= 0; i-- {
		s.steps[i]()
	}
	s.steps = nil
}

// Release forgets the steps: the operation succeeded.
func (s *Stack) Release() { s.steps = nil }
