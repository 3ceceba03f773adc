package demo

import (
	"os"
	"os/exec"
	"syscall"
)

// own lets the server end with the thread that starts it, so that it does not stay when the app is killed (prctl(2),
// PR_SET_PDEATHSIG).
func own(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }

func end(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
