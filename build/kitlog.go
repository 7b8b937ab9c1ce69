package build

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"
)

// kitLog sends what BuildKit and containerd's libraries log, which is this process's only
// logrus log, to ours: with their errors for warnings, because what fails is told by whom
// it failed for, and the rest is for who looks for a bug.
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
	level := slog.LevelDebug
	// A client that goes takes its session with it; that is no trouble.
	if e.Level <= logrus.ErrorLevel && !strings.HasPrefix(e.Message, "healthcheck failed") {
		level = slog.LevelWarn
	}
	args := []any{"of", "buildkit"}
	for k, v := range e.Data {
		args = append(args, k, v)
	}
	h.log.Log(context.Background(), level, e.Message, args...)
	return nil
}
