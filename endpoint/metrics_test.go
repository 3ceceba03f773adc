package endpoint

import (
	"sync"
	"testing"
)

// TestMetrics: what sessions carried is counted while they last and when they are over, and nothing ever gets less.
func TestMetrics(t *testing.T) {
	r := start(t, "udp")
	if m := r.Metrics(); m.Endpoint != EndpointID("test") || m.Active != 0 || m.RxBytes != 0 || m.AuthenticationFailures != 0 {
		t.Errorf("at first %+v", m)
	}
	kinds := map[string]int{}
	for _, e := range r.Metrics().Expiries {
		kinds[e.Kind]++
	}
	if kinds[ExpiryServer] != 1 || kinds[ExpiryCA] != 1 || kinds[ExpiryCRL] != 0 {
		t.Errorf("%v expire", kinds)
	}

	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		var last Metrics
		for {
			m := r.Metrics()
			if m.RxBytes < last.RxBytes || m.TxBytes < last.TxBytes || m.RxPackets < last.RxPackets || m.TxPackets < last.TxPackets {
				t.Errorf("%+v after %+v", m, last)
				return
			}
			last = m
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for range 3 {
		d, reply := r.connect(t, "ann")
		d.ping(t, reply.Address.Addr())
		if m := r.Metrics(); m.Active != 1 {
			t.Errorf("one client: %+v", m)
		}
		d.cancel()
		<-d.done
		r.until(t, func() bool { return r.Metrics().Active == 0 })
	}
	close(stop)
	watch.Wait()
	var sum Connection
	for _, c := range r.AllConnections() {
		sum.RxBytes, sum.TxBytes, sum.RxPackets, sum.TxPackets = sum.RxBytes+c.RxBytes, sum.TxBytes+c.TxBytes, sum.RxPackets+c.RxPackets, sum.TxPackets+c.TxPackets
	}
	m := r.Metrics()
	if m.RxPackets < 3 || m.RxBytes != sum.RxBytes || m.TxBytes != sum.TxBytes || m.RxPackets != sum.RxPackets || m.TxPackets != sum.TxPackets {
		t.Errorf("in the end %+v; the sessions had %+v", m, sum)
	}
}
