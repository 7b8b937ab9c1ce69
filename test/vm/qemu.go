package vm

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// kernelArgs leave out what takes time in an emulated machine or is not there, and
// make a panic end it.
const kernelArgs = "console=ttyS0 quiet panic=-1 reboot=t mitigations=off nokaslr audit=0 cryptomgr.notests " +
	"tsc=reliable no_timer_check rcupdate.rcu_expedited=1 random.trust_cpu=on rdinit=/init"

// machine is a running QEMU.
type machine struct {
	cmd     *exec.Cmd
	out     *bufio.Reader
	console bytes.Buffer // everything it has said
	cancel  context.CancelFunc
	ctx     context.Context
}

func boot(kernel, initrd string, b Batch) (*machine, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("the tests on cgroup v2 need qemu-system-x86_64, and it is not there: apt-get install qemu-system-x86")
	}
	ctx, cancel := context.WithTimeout(context.Background(), b.Timeout)
	m := &machine{ctx: ctx, cancel: cancel}
	m.cmd = exec.CommandContext(ctx, qemu,
		"-machine", "q35,accel=tcg,usb=off,sata=off,smbus=off,vmport=off,hpet=off", "-cpu", "max", "-smp", "1",
		"-m", fmt.Sprint(b.Memory), "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04", "-serial", "stdio",
		"-kernel", kernel, "-initrd", initrd, "-append", kernelArgs)
	m.cmd.Stderr = &m.console
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		cancel()
		return nil, err
	}
	m.out = bufio.NewReader(io.TeeReader(out, &m.console))
	if err := m.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return m, nil
}

// line reads a line without its end, which the serial line may have doubled. The
// second result is false at the end.
func (m *machine) line() (string, bool) {
	s, err := m.out.ReadString('\n')
	return strings.TrimRight(s, "\r\n"), err == nil || s != ""
}

// follow reads the console to its end and makes subtests of it. It returns false if the
// machine ended before it was ready.
func (m *machine) follow(t *testing.T, b Batch) (ready bool) {
	t.Helper()
	defer m.cancel()
	exit, ran := "", 0
	for {
		l, ok := m.line()
		if !ok {
			break
		}
		switch word, rest, _ := strings.Cut(l, " "); word {
		case "VM-READY":
			ready = true
		case "VM-BROKEN":
			t.Errorf("the machine cannot be prepared: %s", rest)
			ready = true
		case "VM-START":
			ran++
			t.Run(rest, func(t *testing.T) { m.program(t, rest) })
		case "VM-EXIT":
			exit = rest
		}
	}
	err := m.cmd.Wait()
	switch {
	case m.ctx.Err() != nil:
		t.Errorf("the machine did not end within %s", b.Timeout)
	case !ready:
		return false
	case exit == "" || ran != len(b.Programs):
		t.Errorf("the machine ended (%v) after %d of %d programs without a verdict", err, ran, len(b.Programs))
	case m.cmd.ProcessState.ExitCode() != 2*atoi(exit)+1:
		t.Errorf("the console says %s, QEMU ended with %d", exit, m.cmd.ProcessState.ExitCode())
	}
	if t.Failed() {
		m.keep(t)
	}
	return true
}

// program logs the output of one program up to its end.
func (m *machine) program(t *testing.T, name string) {
	for {
		l, ok := m.line()
		if !ok {
			t.Errorf("the machine ended while %s ran", name)
			return
		}
		if rest, ended := strings.CutPrefix(l, "VM-END "+name+" "); ended {
			if status, took, _ := strings.Cut(rest, " "); status != "0" {
				t.Errorf("%s ended with status %s after %s", name, status, took)
			} else {
				t.Logf("%s passed in %s", name, took)
			}
			return
		}
		t.Log(l)
	}
}

// keep saves the console of a failed batch.
func (m *machine) keep(t *testing.T) {
	f, err := os.CreateTemp("", "hoy-vm-console-*.log")
	if err != nil {
		t.Log(err)
		return
	}
	defer f.Close()
	f.Write(m.console.Bytes())
	t.Logf("the machine's console is in %s", f.Name())
}

func atoi(s string) (n int) {
	fmt.Sscan(s, &n)
	return n
}
