//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/adit-vpn/adit/bench/report"
)

// connect measures the time from the wish to the first answered ping, for every way to ask.
func connect(ctx context.Context, b *bench, sides []*side) error {
	for range b.o.connects {
		for _, s := range sides {
			for i, way := range s.tunnel.ways() {
				took, err := b.connectOnce(ctx, s, way)
				if err != nil {
					return err
				}
				name := s.name
				if i > 0 {
					name += ", by " + way
				}
				b.figures.Add(report.Metric{ID: "connect " + s.scene.transport, Title: "from the wish to the first answered ping, " + s.scene.transport, Unit: "ms", Less: true},
					name, float64(took)/1e6)
			}
		}
	}
	return nil
}

// connectOnce connects and disconnects. Who does not come up is asked once more, which is left out of the figures and said: openvpn's server
// now and then owes its answer to a client that comes right behind another one with the same certificate.
func (b *bench) connectOnce(ctx context.Context, s *side, way string) (time.Duration, error) {
	took, err := s.connect(ctx, s.client(), way)
	if err != nil && ctx.Err() == nil {
		b.leaveOut("once %s did not connect, %s: %v", s.name, way, err)
		if err := s.tunnel.end(ctx, s.client()); err != nil {
			return 0, fmt.Errorf("%s, %s: %w", s.name, way, err)
		}
		took, err = s.connect(ctx, s.client(), way)
	}
	if err != nil {
		return 0, fmt.Errorf("%s, %s: %w", s.name, way, err)
	}
	return took, s.tunnel.end(ctx, s.client())
}

// farAway is what connectFar adds to each round trip.
const farAway = 50 * time.Millisecond

// leastTrips are the round trips that OpenVPN's protocol needs with tls-crypt and TLS 1.3: the
// resets, the hellos, the exchange of keys with the pushed configuration, and the ping itself; TCP
// is connected before. (WireGuard needs two: its handshake, and the ping.)
func leastTrips(transport string) float64 {
	if transport == "tcp" {
		return 5
	}
	return 4
}

// connectFar measures as connect does on a slow wire, in round trips.
func connectFar(ctx context.Context, b *bench, sides []*side) error {
	for range b.o.rounds {
		for _, s := range sides {
			took, err := b.connectOnce(ctx, s, s.tunnel.ways()[0])
			if err != nil {
				return err
			}
			b.figures.Add(report.Metric{
				ID:    "connect far " + s.scene.transport,
				Title: fmt.Sprintf("to the first answered ping with %v added to each round trip, %s (least: %v)", farAway, s.scene.transport, leastTrips(s.scene.transport)),
				Unit:  "round trips", Less: true,
			}, s.name, float64(took)/float64(farAway))
		}
	}
	return nil
}
