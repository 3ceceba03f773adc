package ec2

import (
	"net/netip"

	"github.com/adit-vpn/adit/endpoint"
	"github.com/adit-vpn/adit/endpoint/model"
)

type connectionsAnswer struct {
	head
	Connections set[connectionItem] `xml:"connections"`
	Next        string              `xml:"nextToken,omitempty"`
}

func describeConnections(c *call, in inList) (*connectionsAnswer, error) {
	list, err := c.m.Connections(in.ID)
	if err != nil {
		return nil, err
	}
	id := func(conn endpoint.Connection) string { return conn.ID }
	list, err = filtered(in.filtering, list, columns[endpoint.Connection]{
		"connection-id": one(id),
		"username":      one(func(conn endpoint.Connection) string { return conn.Username }),
	}, nil)
	if err != nil {
		return nil, err
	}
	list, next, err := page(c, in.paging, list, id)
	return &connectionsAnswer{Next: next, Connections: setOf(list, func(conn endpoint.Connection) connectionItem {
		at := conn.Ended // until then it was counted
		if at.IsZero() {
			at = c.o.Now()
		}
		item := connectionItem{
			Endpoint: in.ID, Timestamp: moment(at), ID: conn.ID, Username: conn.Username, Established: moment(conn.Since),
			RxBytes: conn.RxBytes, TxBytes: conn.TxBytes, RxPackets: conn.RxPackets, TxPackets: conn.TxPackets,
			Address: addressOf(conn.Address), Address6: addressOf(conn.Address6), CommonName: conn.Cert,
			Status: status{Code: conn.Status, Message: conn.Reason}, Ended: moment(conn.Ended), Posture: set[string]{conn.Posture},
		}
		if item.CommonName == "" { // without a certificate it is the name of the person (ClientVpnConnection in AWS's reference)
			item.CommonName = conn.Username
		}
		if !conn.Evaluated.IsZero() {
			item.Evaluated = moment(conn.Evaluated)
		}
		return item
	})}, err
}

func addressOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type terminatedAnswer struct {
	head
	Endpoint string              `xml:"clientVpnEndpointId"`
	Username string              `xml:"username,omitempty"`
	Statuses set[terminatedItem] `xml:"connectionStatuses"`
}

func terminateConnections(c *call, in struct {
	inEndpoint
	Connection string `query:"ConnectionId"`
	User       string `query:"Username"`
}) (*terminatedAnswer, error) {
	list, err := c.m.Terminate(c.ctx, c.with(""), in.ID, in.Connection, in.User)
	return &terminatedAnswer{Endpoint: in.ID, Username: in.User, Statuses: setOf(list, func(t model.Terminated) terminatedItem {
		return terminatedItem{t.ID, status{Code: t.Previous}, status{Code: t.Current}}
	})}, err
}
