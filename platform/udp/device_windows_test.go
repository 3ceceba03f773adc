package udp

import (
	"net"
	"testing"
	"time"
)

// TCP, whose sockets take the same option.
func TestDevice(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			continue
		}
		d := net.Dialer{Timeout: 5 * time.Second, Control: Control(Options{Device: i.Name})}
		c, err := d.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		d.Control = Control(Options{Device: "no such device"})
		if c, err := d.Dial("tcp4", l.Addr().String()); err == nil {
			c.Close()
			t.Error("dialled by a device that is not there")
		}
		return
	}
	t.Fatal("no loopback device")
}
