package endpoint

import (
	"maps"
	"slices"
)

// followLosses moves clients away from associations that are lost, until the network is closed.
func (s *Server) followLosses() {
	before := map[string]string{}
	for lost := range s.leave.Network.Losses() {
		for _, a := range slices.Sorted(maps.Keys(lost)) {
			if lost[a] != before[a] && lost[a] != "" {
				s.log.Warn("an association is lost", "subnet", a, "reason", lost[a])
			}
		}
		for _, a := range slices.Sorted(maps.Keys(before)) {
			if why, wanted := lost[a]; before[a] != "" && wanted && why == "" {
				s.log.Info("an association is back", "subnet", a)
			}
		}
		before = lost
		s.losses.Store(&lost)
		s.moveAway()
	}
}

// avoided are the associations of g that are lost. There are none when all are: clients who stay where they are go on
// when one comes back, and have nowhere else to go.
func (s *Server) avoided(g *generation) map[string]bool {
	lost := s.losses.Load()
	if lost == nil || len(*lost) == 0 {
		return nil
	}
	out := map[string]bool{}
	for _, a := range g.layout.associations {
		if (*lost)[a] != "" {
			out[a] = true
		}
	}
	if len(out) == len(g.layout.associations) {
		return nil
	}
	return out
}

// moveAway tells the clients of lost associations to come back, through others.
func (s *Server) moveAway() {
	avoided := s.avoided(s.gen.Load())
	for _, p := range s.peers.all() {
		if st := p.status.Load(); st != nil && avoided[st.lease.association] {
			p.end(comeBack+"its network is lost", "the association with "+st.lease.association+" is lost")
		}
	}
}
