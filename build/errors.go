package build

import (
	"errors"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	solver "github.com/moby/buildkit/solver/errdefs"

	"hoy/lib/buildlog"
)

// ExitCode is that of the step's command because of which a build failed; 0: it failed
// because of something else.
func ExitCode(err error) int {
	var step *stepError
	if errors.As(err, &step) {
		return step.code
	}
	var exit *gateway.ExitError
	if errors.As(err, &exit) && exit.ExitCode != gateway.UnknownExitStatus {
		return int(exit.ExitCode)
	}
	return 0
}

// placeOf is where in the Dockerfile an error has its cause, if it says so.
func placeOf(err error) *buildlog.Place {
	for _, s := range solver.Sources(err) {
		if p := sourcePlace(s); p != nil {
			return p
		}
	}
	return nil
}

func sourcePlace(s *solver.Source) *buildlog.Place {
	if s.Info == nil || len(s.Ranges) == 0 {
		return nil
	}
	var excerpt strings.Builder
	if s.Print(&excerpt) != nil {
		return nil
	}
	return &buildlog.Place{File: s.Info.Filename, Line: int(s.Ranges[0].Start.Line), Excerpt: excerpt.String()}
}
