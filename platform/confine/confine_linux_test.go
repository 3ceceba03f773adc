package confine

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// confined is set where this program is the process that gives up what it does not need.
const confined = "ADIT_TEST_CONFINED"

func TestMain(m *testing.M) {
	if os.Getenv(confined) == "" {
		os.Exit(m.Run())
	}
	// Threads from before, that have to follow.
	var there, done sync.WaitGroup
	hold := make(chan struct{})
	for range 8 {
		there.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			there.Done()
			<-hold
		})
	}
	there.Wait()
	if err := Process(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	tasks, _ := os.ReadDir("/proc/self/task")
	for _, t := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/status")
		fmt.Printf("thread\n%s", b)
	}
	b, err := exec.Command("/bin/cat", "/proc/self/status").Output()
	fmt.Printf("child\n%s%v", b, err)
	close(hold)
	done.Wait()
}

// TestProcess: every thread keeps five capabilities, a child may have a few more.
func TestProcess(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	if racing {
		t.Skip("with cgo, which the race detector needs, a process cannot change all its threads; the test without it does")
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), confined+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	threads, child, _ := strings.Cut(string(out), "child\n")
	if n := strings.Count(threads, "thread\n"); n < 8 {
		t.Fatalf("%d threads", n)
	}
	field := func(text, name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `:\s*(\S+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("no %s in %s", name, text)
		}
		return m[1]
	}
	const few, some = "0000000000003403", "00000000000034eb"
	for i, text := range strings.Split(threads, "thread\n")[1:] {
		if eff, prm, bnd := field(text, "CapEff"), field(text, "CapPrm"), field(text, "CapBnd"); eff != few || prm != few || bnd != some {
			t.Errorf("thread %d: effective %s, permitted %s, bounding %s", i, eff, prm, bnd)
		}
	}
	if eff := field(child, "CapEff"); eff != some {
		t.Errorf("a child has %s", eff)
	}
}
