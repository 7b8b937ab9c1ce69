package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func number(args []string, i, otherwise int) int {
	if i < len(args) {
		if n, err := strconv.Atoi(args[i]); err == nil {
			return n
		}
	}
	return otherwise
}

// allocate takes and touches megabytes of memory.
func allocate(args []string) error {
	mb := number(args, 0, 1)
	var all [][]byte
	for range mb {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		all = append(all, b)
	}
	fmt.Println("allocated", len(all))
	return nil
}

// forkMany starts processes that wait for ever and says how many it could.
func forkMany(args []string) error {
	n := 0
	for range number(args, 0, 1) {
		if err := exec.Command("/proc/self/exe", "hold").Start(); err != nil {
			fmt.Println("forked", n, err)
			return nil
		}
		n++
	}
	fmt.Println("forked", n)
	return nil
}

// burn keeps a processor busy for milliseconds of its own CPU time.
func burn(args []string) error {
	want := time.Duration(number(args, 0, 100)) * time.Millisecond
	start := time.Now()
	for used() < want {
	}
	fmt.Println("burned", used().Milliseconds(), "in", time.Since(start).Milliseconds())
	return nil
}

func used() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sleep waits milliseconds.
func sleep(args []string) error {
	time.Sleep(time.Duration(number(args, 0, 1000)) * time.Millisecond)
	return nil
}

// hold waits until it is killed. The runtime would call waiting on nothing a deadlock.
func hold([]string) error {
	for {
		time.Sleep(time.Hour)
	}
}

func echo(args []string) error {
	fmt.Println(strings.Join(args, " "))
	return nil
}

func echoStderr(args []string) error {
	fmt.Fprintln(os.Stderr, strings.Join(args, " "))
	return nil
}

func copyStdin([]string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

func exit(args []string) error {
	os.Exit(number(args, 0, 0))
	return nil
}

func killSelf(args []string) error {
	return syscall.Kill(os.Getpid(), syscall.Signal(number(args, 0, 9)))
}

// trap waits for a signal, prints its number and ends with it as exit code.
func trap([]string) error {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH)
	fmt.Println("ready")
	s := (<-c).(syscall.Signal)
	fmt.Println("signal", int(s))
	os.Exit(int(s))
	return nil
}

// count prints numbered lines: how many (0 = for ever), milliseconds between.
func count(args []string) error {
	n, pause := number(args, 0, 0), time.Duration(number(args, 1, 1))*time.Millisecond
	for i := 0; n == 0 || i < n; i++ {
		fmt.Println("line", i)
		time.Sleep(pause)
	}
	return nil
}

func execute(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}
