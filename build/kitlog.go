package build

import (
	"io"
	"log/slog"
	"sync"

	"github.com/sirupsen/logrus"
)

// kitLog sends what BuildKit and containerd's libraries log, which is this process's only
// logrus log, to ours, for who looks for a bug: what fails is told by whom it failed for,
// and most of what they call errors is clients that have gone.
func kitLog(log *slog.Logger) {
	once.Do(func() {
		logrus.SetOutput(io.Discard)
		logrus.AddHook(logHook{log})
	})
}

var once sync.Once // there is one logrus in a process

type logHook struct{ log *slog.Logger }

func (logHook) Levels() []logrus.Level { return logrus.AllLevels }

func (h logHook) Fire(e *logrus.Entry) error {
	args := []any{"of", "buildkit"}
	for k, v := range e.Data {
		args = append(args, k, v)
	}
	h.log.Debug(e.Message, args...)
	return nil
}
